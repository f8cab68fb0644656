"""PRM's forward and backward as one Pallas kernel each, for a TPU (prototype)."""
import functools, math
import jax, jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from prm_flax.prm.numerics import LARGEST_DISTANCE, SIGMA_EPSILON, SMALLEST_D

LANES = 128
BATCH = 8


def _group(x, ones):
    """(w, b, l) -> the same shape, each the sum over the lanes of its group."""
    w, b, l = x.shape
    precision = lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
    flat = lax.dot_general(x.reshape(w * b, l), ones.astype(x.dtype), (((1,), (0,)), ((), ())),
                           precision=precision, preferred_element_type=jnp.float32)
    return flat.reshape(w, b, l)


def _ones(l, c):
    row = lax.broadcasted_iota(jnp.int32, (l, l), 0) // c
    col = lax.broadcasted_iota(jnp.int32, (l, l), 1) // c
    return (row == col).astype(jnp.float32)


def _density(pixel, query, theta, d):
    u = jnp.clip(theta * jnp.abs(pixel - query).astype(jnp.float32) / d, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    return jnp.exp(-0.5 * jnp.square(u)) / (d * math.sqrt(2 * math.pi))


def look(x_ref, ones):
    """Query row, column, its vector, the mean: (b, l) each."""
    h, w, b, l = x_ref.shape
    first = x_ref[0, 0].astype(jnp.float32)
    column = lax.broadcasted_iota(jnp.int32, (w, b, l), 0)

    def row(r, carry):
        best, qr, qc, q, total = carry
        xr = x_ref[r]
        s = _group(xr, ones)
        xf = xr.astype(jnp.float32)
        top = s.max(0)
        at = jnp.where(s == top, column, w).min(0)
        value = jnp.where(column == at, xf, 0.0).sum(0)
        better = (top > best) | (r == 0)
        pick = lambda new, old: jnp.where(better, new, old)
        return (pick(top, best), pick(jnp.full_like(qr, r), qr), pick(at, qc), pick(value, q),
                total + (xf - first).sum(0))

    zero = jnp.zeros((b, l), jnp.float32)
    izero = jnp.zeros((b, l), jnp.int32)
    _, qr, qc, q, total = lax.fori_loop(0, h, row, (zero, izero, izero, zero, zero))
    return qr, qc, q, first + total / (h * w)


def rows(h, body, init):
    return lax.fori_loop(0, h, body, init)


def score(x_ref, s_ref, ones, qr, qc, q, z, alpha, beta, theta_r, theta_c, d):
    """Writes the scores S; returns the moments: mean and 1/(σ + ε), σ."""
    h, w, b, l = x_ref.shape
    column = lax.broadcasted_iota(jnp.int32, (w, b, l), 0)
    dc = _density(column, qc, theta_c, d)

    def row(r, total):
        dr = _density(r, qr, theta_r, d)
        enc = (dr + dc) / 2
        v = alpha * enc * q + beta * z
        s = _group(x_ref[r].astype(jnp.float32) * v, ones)
        s_ref[r] = s
        return total

    rows(h, row, 0)
    return s_ref


def moments(s_ref, ddof):
    h, w, b, l = s_ref.shape
    n = h * w
    first = s_ref[0, 0]
    zero = jnp.zeros((b, l), jnp.float32)
    mu = first + rows(h, lambda r, t: t + (s_ref[r] - first).sum(0), zero) / n
    largest = rows(h, lambda r, t: jnp.maximum(t, jnp.abs(s_ref[r] - mu).max(0)), zero)
    spread = largest > jnp.finfo(jnp.float32).tiny
    unit = jnp.where(spread, largest, 1.0)
    square = rows(h, lambda r, t: t + jnp.square((s_ref[r] - mu) / unit).sum(0), zero)
    sigma = unit * jnp.sqrt(jnp.where(spread, square / max(n - ddof, 1), 1.0))
    return mu, jnp.where(spread, sigma, 0.0), spread


def safe_d(d):
    sign = jnp.where(d < 0, -1.0, 1.0)
    return jnp.where(jnp.abs(d) < SMALLEST_D, sign * SMALLEST_D, d)


def forward_kernel(c, ddof, tr_ref, alpha_ref, beta_ref, lam_ref, xi_ref, x_ref, y_ref, s_ref):
    h, w, b, l = x_ref.shape
    ones = _ones(l, c)
    theta_r, theta_c, d = tr_ref[0], tr_ref[1], safe_d(tr_ref[2])
    qr, qc, q, z = look(x_ref, ones)
    alpha, beta, lam, xi = (ref[...] for ref in (alpha_ref, beta_ref, lam_ref, xi_ref))
    score(x_ref, s_ref, ones, qr, qc, q, z, alpha, beta, theta_r, theta_c, d)
    mu, sigma, _ = moments(s_ref, ddof)
    scale = lam / (sigma + SIGMA_EPSILON)

    def row(r, carry):
        gate = jax.nn.sigmoid((s_ref[r] - mu) * scale + xi)
        y_ref[r] = (x_ref[r].astype(jnp.float32) * gate).astype(y_ref.dtype)
        return carry

    rows(h, row, 0)


def backward_kernel(c, ddof, tr_ref, alpha_ref, beta_ref, lam_ref, xi_ref, x_ref, dy_ref,
                    dx_ref, dab_ref, s_ref, du_ref):
    """dab: (8, b, l): dα, dβ, dλ, dξ, dθr, dθc, dd a group, spread over its lanes."""
    h, w, b, l = x_ref.shape
    n = h * w
    ones = _ones(l, c)
    theta_r, theta_c, d = tr_ref[0], tr_ref[1], safe_d(tr_ref[2])
    qr, qc, q, z = look(x_ref, ones)
    alpha, beta, lam, xi = (ref[...] for ref in (alpha_ref, beta_ref, lam_ref, xi_ref))
    score(x_ref, s_ref, ones, qr, qc, q, z, alpha, beta, theta_r, theta_c, d)
    mu, sigma, spread = moments(s_ref, ddof)
    inverse = 1 / (sigma + SIGMA_EPSILON)
    zero = jnp.zeros((b, l), jnp.float32)

    def first(r, carry):
        sdu, sdut = carry
        t = (s_ref[r] - mu) * inverse
        gate = jax.nn.sigmoid(lam * t + xi)
        du = _group(dy_ref[r].astype(jnp.float32) * x_ref[r].astype(jnp.float32), ones) * gate * (1 - gate)
        du_ref[r] = du
        return sdu + du.sum(0), sdut + (du * t).sum(0)

    dxi, dlam = rows(h, first, (zero, zero))
    # dS = (λ du - mean)/(σ+ε) - c·k,  c = S - μ
    mean_dt = lam * dxi / n
    safe = jnp.where(spread, sigma, 1.0)
    k = jnp.where(spread, lam * dlam * inverse / (safe * max(n - ddof, 1)), 0.0)
    column = lax.broadcasted_iota(jnp.int32, (w, b, l), 0)
    uc = jnp.clip(theta_c * jnp.abs(column - qc).astype(jnp.float32) / d, -LARGEST_DISTANCE, LARGEST_DISTANCE)
    dc = _density(column, qc, theta_c, d)

    def second(r, carry):
        A, Bv, gtr, gtc, gd = carry
        xf = x_ref[r].astype(jnp.float32)
        ds = (lam * du_ref[r] - mean_dt) * inverse - (s_ref[r] - mu) * k
        du_ref[r] = ds
        distr = jnp.abs(r - qr).astype(jnp.float32)
        ur = jnp.clip(theta_r * distr / d, -LARGEST_DISTANCE, LARGEST_DISTANCE)
        dr = _density(r, qr, theta_r, d)
        enc = (dr + dc) / 2
        dsx = ds * xf
        A = A + (dsx * enc).sum(0)
        Bv = Bv + dsx.sum(0)
        inr = jnp.abs(theta_r * distr / d) < LARGEST_DISTANCE
        distc = jnp.abs(column - qc).astype(jnp.float32)
        inc = jnp.abs(theta_c * distc / d) < LARGEST_DISTANCE
        # ∂D/∂θ_a = -½ D_a u_a Δ_a/d; ∂D/∂d = ½ Σ_a D_a (u_a² - 1)/d
        tr = -0.5 * dr * jnp.where(inr, ur * distr / d, 0.0)
        tc = -0.5 * dc * jnp.where(inc, uc * distc / d, 0.0)
        dd = 0.5 * (dr * (jnp.where(inr, ur * ur, 0.0) - 1) + dc * (jnp.where(inc, uc * uc, 0.0) - 1)) / d
        return A, Bv, gtr + (dsx * tr).sum(0), gtc + (dsx * tc).sum(0), gd + (dsx * dd).sum(0)

    A, Bv, gtr, gtc, gd = rows(h, second, (zero,) * 5)

    def group(v):
        return _group(v[None], ones)[0]

    outs = [group(q * A), group(z * Bv), dlam, dxi, alpha * group(q * gtr), alpha * group(q * gtc),
            alpha * group(q * gd), zero]
    for i, o in enumerate(outs):
        dab_ref[i] = o
    dq, dz = alpha * A, beta * Bv / n

    def third(r, carry):
        xf = x_ref[r].astype(jnp.float32)
        gate = jax.nn.sigmoid(lam * (s_ref[r] - mu) * inverse + xi)
        enc = (_density(r, qr, theta_r, d) + dc) / 2
        dx = dy_ref[r].astype(jnp.float32) * gate + du_ref[r] * (alpha * enc * q + beta * z) + dz
        dx = dx + jnp.where((column == qc) & (qr == r), dq, 0.0)
        dx_ref[r] = dx.astype(dx_ref.dtype)
        return carry

    rows(h, third, 0)


def _specs(h, w, bb, l):
    image = pl.BlockSpec((h, w, bb, l), lambda i, j: (0, 0, i, j))
    vector = pl.BlockSpec((1, l), lambda i, j: (0, j))
    return image, vector


def _call(kernel, x, outs, scratch, params, extra=(), interpret=False):
    h, w, B, C = x.shape
    l = min(LANES, C)
    bb = min(BATCH, B)
    image, vector = _specs(h, w, bb, l)
    scal = pl.BlockSpec(memory_space=pltpu.SMEM)
    out_specs = []
    for o in outs:
        out_specs.append(image if o.shape == x.shape else pl.BlockSpec((8, bb, l), lambda i, j: (0, i, j)))
    return pl.pallas_call(
        kernel, grid=(pl.cdiv(B, bb), C // l),
        in_specs=[scal] + [vector] * 4 + [image] * (1 + len(extra)),
        out_specs=out_specs, out_shape=outs,
        scratch_shapes=[pltpu.VMEM((h, w, bb, l), jnp.float32)] * scratch,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel"), vmem_limit_bytes=110 << 20),
        interpret=interpret,
    )(*params, x, *extra)


def _spread(p, c):
    vec = [jnp.repeat(v.astype(jnp.float32), c)[None] for v in (p.alpha, p.beta, p.lam, p.xi)]
    return jnp.concatenate([p.theta, p.d[None]]).astype(jnp.float32), *vec


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def prm(x, p, ddof=0, interpret=False):
    c = x.shape[-1] // p.alpha.shape[0]
    xt = x.transpose(1, 2, 0, 3)
    (y,) = _call(functools.partial(forward_kernel, c, ddof), xt, [jax.ShapeDtypeStruct(xt.shape, x.dtype)], 1, _spread(p, c), interpret=interpret)
    return y.transpose(2, 0, 1, 3)


def _fwd(x, p, ddof, interpret):
    return prm(x, p, ddof, interpret), (x, p)


def _bwd(ddof, interpret, res, dy):
    x, p = res
    c = x.shape[-1] // p.alpha.shape[0]
    xt, dyt = x.transpose(1, 2, 0, 3), dy.transpose(1, 2, 0, 3)
    B = x.shape[0]
    dx, small = _call(functools.partial(backward_kernel, c, ddof), xt,
                      [jax.ShapeDtypeStruct(xt.shape, x.dtype), jax.ShapeDtypeStruct((8, B, x.shape[-1]), jnp.float32)],
                      2, _spread(p, c), (dyt,), interpret=interpret)
    g = small[:, :, ::c].sum(1)
    dp = type(p)(g[0], g[1], g[2], g[3], jnp.stack([g[4].sum(), g[5].sum()]), g[6].sum())
    return dx.transpose(2, 0, 1, 3), dp


prm.defvjp(_fwd, _bwd)
