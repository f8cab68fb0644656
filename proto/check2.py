import jax, jax.numpy as jnp, sys
from prm_flax import PRMParams, recalibrate
from prm_flax.prm.kernels.options import Options
import importlib
mod=importlib.import_module("prm_flax.prm.kernels."+sys.argv[1]); fn=getattr(mod,f"recalibrate_on_{sys.argv[1]}")
def test(B,h,w,C,g,dtype=jnp.float32,seed=0,**o):
    k=jax.random.split(jax.random.key(seed),8)
    x=jax.random.normal(k[0],(B,h,w,C),dtype); r=jax.random.normal(k[1],x.shape,jnp.float32).astype(dtype)
    p=PRMParams(*(jax.random.normal(k[2+i],(g,)) for i in range(4)), jax.random.uniform(k[6],(2,)), jnp.asarray(1.7))
    A=lambda x,p: fn(x,p,Options(**o),True); Bf=lambda x,p: recalibrate(x,p,**o)
    f=lambda fn: jax.jit(jax.value_and_grad(lambda x,p: (fn(x,p).astype(jnp.float32)*r.astype(jnp.float32)).sum(), argnums=(0,1)))(x,p)
    y1=A(x,p); y0=Bf(x,p)
    _,(dx1,dp1)=f(A); _,(dx0,dp0)=f(Bf)
    print(B,h,w,C,g,dtype.__name__,o,"y",float(jnp.abs(y1-y0).max()),"dx",float(jnp.abs((dx1-dx0).astype(jnp.float32)).max()/jnp.abs(dx0.astype(jnp.float32)).max()), *(f"{n} {float(jnp.abs(a-b).max()/(jnp.abs(b).max()+1e-9)):.1e}" for n,a,b in zip(p._fields,dp1,dp0)),flush=True)
test(3,5,7,64,16)
for s in ("l1","cosine"): test(2,5,4,32,8,similarity=s)
test(2,5,4,32,8,position=False); test(2,5,4,32,8,normalize=False); test(1,1,1,8,2,ddof=1)
