"""PRM's forward and backward as one Pallas kernel each, for a GPU (prototype)."""
import functools, math
import jax, jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt
from prm_flax.prm.numerics import LARGEST_DISTANCE, SIGMA_EPSILON, SMALLEST_D

TINY = float(jnp.finfo(jnp.float32).tiny)


def pow2(n):
    return 1 << (n - 1).bit_length()


class Map:
    """x (n, g, c) of one image and some groups, tile by tile."""

    def __init__(self, refs, n, w, tile):
        self.refs, self.n, self.w, self.tile = refs, n, w, tile
        self.tiles = -(-n // tile)
        self.kept = [self._load(r, 0) for r in refs] if self.tiles == 1 else None

    def _load(self, ref, t):
        rows = t * self.tile + lax.iota(jnp.int32, self.tile)
        mask = jnp.broadcast_to((rows < self.n)[:, None, None], (self.tile, *ref.shape[1:]))
        return plt.load(ref.at[pl.ds(t * self.tile, self.tile)], mask=mask, other=0.0).astype(jnp.float32)

    def get(self, t):
        return self.kept if self.kept is not None else [self._load(r, t) for r in self.refs]

    def over(self, body, init):
        return body(0, init) if self.tiles == 1 else lax.fori_loop(0, self.tiles, body, init)

    def rows(self, t, ndim=2):
        i = t * self.tile + lax.iota(jnp.int32, self.tile)
        return i[(slice(None),) + (None,) * (ndim - 1)]

    def store(self, ref, t, value):
        mask = jnp.broadcast_to(self.rows(t, 3) < self.n, value.shape)
        plt.store(ref.at[pl.ds(t * self.tile, self.tile)], value.astype(ref.dtype), mask=mask)


def look(m, g, c):
    """index (g,), query vector (g, c), mean (g, c)."""
    def body(t, carry):
        best, at, q, total = carry
        x = m.get(t)[0]
        i = m.rows(t)
        s = jnp.where(i < m.n, x.sum(-1), -jnp.inf)
        top = s.max(0)
        here = jnp.where(s == top[None], i, 1 << 30).min(0)
        value = jnp.where(m.rows(t, 3) == here[None, :, None], x, 0.0).sum(0)
        better = top > best
        return (jnp.where(better, top, best), jnp.where(better, here, at),
                jnp.where(better[:, None], value, q), total + x.sum(0))
    zero = jnp.zeros((g, c), jnp.float32)
    init = (jnp.full((g,), -jnp.inf, jnp.float32), jnp.zeros((g,), jnp.int32), zero, zero)
    _, at, q, total = m.over(body, init)
    return at, q, total / m.n


def distances(m, t, at):
    i = m.rows(t)
    return (jnp.abs(i // m.w - (at // m.w)[None]).astype(jnp.float32),
            jnp.abs(i % m.w - (at % m.w)[None]).astype(jnp.float32))


def density(delta, theta, d):
    u = jnp.clip(theta * delta / d, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    return jnp.exp(-0.5 * u * u) / (d * math.sqrt(2 * math.pi)), u


def safe_d(d):
    sign = jnp.where(d < 0, -1.0, 1.0)
    return jnp.where(jnp.abs(d) < SMALLEST_D, sign * SMALLEST_D, d)


def scores(m, t, x, at, q, z, alpha, beta, theta, d):
    dr, dc = distances(m, t, at)
    er, _ = density(dr, theta[0], d)
    ec, _ = density(dc, theta[1], d)
    sq = (x * q[None]).sum(-1)
    return alpha[None] * sq * ((er + ec) / 2) + beta[None] * (x * z[None]).sum(-1)


def moments(m, score, g, ddof):
    """Mean and σ of the scores (g,), tile by tile, in units of the largest deviation."""
    def body(t, carry):
        count, mu, m2, unit = carry
        ok = m.rows(t) < m.n
        s = score(t)
        k = jnp.minimum(m.n - t * m.tile, m.tile).astype(jnp.float32) if m.tiles > 1 else jnp.float32(m.n)
        first = jnp.where(m.rows(0) == 0, s, 0.0).sum(0)
        mean = first + jnp.where(ok, s - first[None], 0.0).sum(0) / k
        dev = jnp.where(ok, s - mean[None], 0.0)
        delta = mean - mu
        delta = jnp.where(count > 0, delta, 0.0)
        largest = jnp.maximum(jnp.maximum(jnp.abs(dev).max(0), jnp.abs(delta)), unit)
        one = jnp.where(largest > TINY, largest, 1.0)
        own = jnp.square(dev / one[None]).sum(0)
        total = count + k
        ratio = unit / one
        m2 = m2 * ratio * ratio + own + jnp.square(delta / one) * (count * k / total)
        mu = jnp.where(count > 0, mu + delta * (k / total), mean)
        return total, mu, m2, largest
    zero = jnp.zeros((g,), jnp.float32)
    _, mu, m2, unit = m.over(body, (jnp.float32(0), zero, zero, zero))
    spread = unit > TINY
    sigma = jnp.where(spread, unit * jnp.sqrt(jnp.where(spread, m2 / max(m.n - ddof, 1), 1.0)), 0.0)
    return mu, sigma


def read(tr_ref, ab_ref):
    theta = (tr_ref[0], tr_ref[1])
    return theta, tr_ref[2], ab_ref[0], ab_ref[1], ab_ref[2], ab_ref[3]


def sigmoid(u):
    return 1 / (1 + jnp.exp(-u))


def forward_kernel(n, w, tile, ddof, tr_ref, ab_ref, x_ref, y_ref, i_ref, v_ref, s_ref):
    _, g, c = x_ref.shape
    m = Map([x_ref], n, w, tile)
    theta, d, alpha, beta, lam, xi = read(tr_ref, ab_ref)
    at, q, z = look(m, g, c)
    score = lambda t: scores(m, t, m.get(t)[0], at, q, z, alpha, beta, theta, d)
    mu, sigma = moments(m, score, g, ddof)
    scale = lam / (sigma + SIGMA_EPSILON)

    def body(t, carry):
        gate = sigmoid((score(t) - mu[None]) * scale[None] + xi[None])
        m.store(y_ref, t, m.get(t)[0] * gate[..., None])
        return carry
    m.over(body, 0)
    i_ref[...] = at
    v_ref[0], v_ref[1] = q, z
    s_ref[0], s_ref[1] = mu, sigma


def backward_kernel(n, w, tile, ddof, tr_ref, ab_ref, i_ref, v_ref, s_ref, x_ref, dy_ref, dx_ref, dp_ref):
    _, g, c = x_ref.shape
    m = Map([x_ref, dy_ref], n, w, tile)
    theta, d, alpha, beta, lam, xi = read(tr_ref, ab_ref)
    at, q, z, mu, sigma = i_ref[...], v_ref[0], v_ref[1], s_ref[0], s_ref[1]
    inv = 1 / (sigma + SIGMA_EPSILON)
    G, V = jnp.zeros((g,), jnp.float32), jnp.zeros((g, c), jnp.float32)

    def pieces(t):
        x, dy = m.get(t)
        ok = m.rows(t) < n
        dr, dc = distances(m, t, at)
        er, ur = density(dr, theta[0], d)
        ec, uc = density(dc, theta[1], d)
        enc = (er + ec) / 2
        sq = (x * q[None]).sum(-1)
        s = alpha[None] * sq * enc + beta[None] * (x * z[None]).sum(-1)
        norm = jnp.where(ok, (s - mu[None]) * inv[None], 0.0)
        gate = sigmoid(lam[None] * norm + xi[None])
        du = (x * dy).sum(-1) * gate * (1 - gate)
        return x, dy, (dr, er, ur), (dc, ec, uc), enc, sq, norm, gate, du

    def first(t, carry):
        sdu, sdut, vec, pos = carry
        x, dy, (dr, er, ur), (dc, ec, uc), enc, sq, norm, gate, du = pieces(t)
        ir = jnp.abs(theta[0] * dr / d) < LARGEST_DISTANCE
        ic = jnp.abs(theta[1] * dc / d) < LARGEST_DISTANCE
        tr = -0.5 * er * jnp.where(ir, ur * dr / d, 0.0) * sq
        tc = -0.5 * ec * jnp.where(ic, uc * dc / d, 0.0) * sq
        td = 0.5 * (er * (jnp.where(ir, ur * ur, 0.0) - 1) + ec * (jnp.where(ic, uc * uc, 0.0) - 1)) / d * sq
        ok = m.rows(t) < n
        weights = (du, ok.astype(jnp.float32), norm)
        vec = tuple((a + ((wt * enc)[..., None] * x).sum(0), b + (wt[..., None] * x).sum(0))
                    for wt, (a, b) in zip(weights, vec))
        pos = tuple(tuple(acc + (wt * each).sum(0) for acc, each in zip(accs, (tr, tc, td)))
                    for wt, accs in zip(weights, pos))
        return sdu + du.sum(0), sdut + (du * norm).sum(0), vec, pos

    dxi, dlam, vec, pos = m.over(first, (G, G, ((V, V),) * 3, ((G, G, G),) * 3))
    spread = sigma > 0
    k = jnp.where(spread, lam * dlam / (jnp.where(spread, sigma, 1.0) * max(n - ddof, 1)), 0.0)
    co = (inv * lam, -inv * lam * dxi / n, -k)   # dS = co·(du, 1, t)
    A = sum(x_[:, None] * a for x_, (a, _) in zip(co, vec))
    B = sum(x_[:, None] * b for x_, (_, b) in zip(co, vec))
    dp_ref[0], dp_ref[1], dp_ref[2], dp_ref[3] = (q * A).sum(-1), (z * B).sum(-1), dlam, dxi
    for i in range(3):
        dp_ref[4 + i] = alpha * sum(x_ * accs[i] for x_, accs in zip(co, pos))
    dq, dz = alpha[:, None] * A, beta[:, None] * B / n

    def second(t, carry):
        x, dy, _, _, enc, sq, norm, gate, du = pieces(t)
        ds = co[0][None] * du + co[1][None] + co[2][None] * norm
        v = (alpha[None] * enc)[..., None] * q[None] + (beta[:, None] * z)[None]
        dx = dy * gate[..., None] + ds[..., None] * v + dz[None]
        dx = dx + jnp.where(m.rows(t, 3) == at[None, :, None], dq[None], 0.0)
        m.store(dx_ref, t, dx)
        return carry
    m.over(second, 0)


def plan(n, c, g):
    """Groups a program, tile, warps."""
    for gb in (max(64 // c, 1), max(32 // c, 1), max(16 // c, 1)):
        if gb <= g and pow2(n) * gb * c <= 1 << 14:
            return gb, pow2(n), 8
    return min(max(64 // c, 1), g), 64, 4


def _call(kernel, shapes, grid_args, n, gb, g, c, B, warps, interpret, inputs):
    spec = {
        "map": pl.BlockSpec((None, n, gb, c), lambda b, j: (b, 0, j, 0)),
        "tr": pl.BlockSpec((4,), lambda b, j: (0,)),
        "ab": pl.BlockSpec((4, gb), lambda b, j: (0, j)),
        "i": pl.BlockSpec((None, gb), lambda b, j: (b, j)),
        "v": pl.BlockSpec((None, 2, gb, c), lambda b, j: (b, 0, j, 0)),
        "s": pl.BlockSpec((None, 2, gb), lambda b, j: (b, 0, j)),
        "p": pl.BlockSpec((None, 8, gb), lambda b, j: (b, 0, j)),
    }
    return pl.pallas_call(kernel, grid=(B, g // gb), in_specs=[spec[k] for k, _ in inputs],
                          out_specs=[spec[k] for k, _ in shapes], out_shape=[s for _, s in shapes],
                          compiler_params=plt.CompilerParams(num_warps=warps, num_stages=1),
                          interpret=interpret)(*(a for _, a in inputs))


def _small(p):
    tr = jnp.concatenate([p.theta, safe_d(p.d)[None], jnp.zeros(1)]).astype(jnp.float32)
    return tr, jnp.stack([p.alpha, p.beta, p.lam, p.xi]).astype(jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def prm(x, p, ddof=0, interpret=False):
    return _fwd(x, p, ddof, interpret)[0]


def _fwd(x, p, ddof, interpret):
    B, h, w, C = x.shape
    g = p.alpha.shape[0]; c = C // g; n = h * w
    gb, tile, warps = plan(n, c, g)
    tr, ab = _small(p)
    x4 = x.reshape(B, n, g, c)
    S = jax.ShapeDtypeStruct
    y, at, v, s = _call(functools.partial(forward_kernel, n, w, tile, ddof),
                        [("map", S(x4.shape, x.dtype)), ("i", S((B, g), jnp.int32)), ("v", S((B, 2, g, c), jnp.float32)), ("s", S((B, 2, g), jnp.float32))],
                        None, n, gb, g, c, B, warps, interpret, [("tr", tr), ("ab", ab), ("map", x4)])
    return y.reshape(x.shape), (x, p, at, v, s)


def _bwd(ddof, interpret, res, dy):
    x, p, at, v, s = res
    B, h, w, C = x.shape
    g = p.alpha.shape[0]; c = C // g; n = h * w
    gb, tile, warps = plan(n, c, g)
    tr, ab = _small(p)
    S = jax.ShapeDtypeStruct
    dx, dp = _call(functools.partial(backward_kernel, n, w, tile, ddof),
                   [("map", S((B, n, g, c), x.dtype)), ("p", S((B, 8, g), jnp.float32))], None, n, gb, g, c, B, warps, interpret,
                   [("tr", tr), ("ab", ab), ("i", at), ("v", v), ("s", s), ("map", x.reshape(B, n, g, c)), ("map", dy.reshape(B, n, g, c))])
    k = dp.sum(0)
    return dx.reshape(x.shape), type(p)(k[0], k[1], k[2], k[3], jnp.stack([k[4].sum(), k[5].sum()]), k[6].sum())


prm.defvjp(_fwd, _bwd)
