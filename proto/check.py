import jax, jax.numpy as jnp, numpy as np
from prm_flax import PRMParams, recalibrate
import importlib,sys
prm=importlib.import_module("proto."+sys.argv[1]).prm
def test(B,h,w,C,g,dtype=jnp.float32,ddof=0,seed=0):
    k=jax.random.split(jax.random.key(seed),8)
    x=jax.random.normal(k[0],(B,h,w,C),dtype); r=jax.random.normal(k[1],x.shape,jnp.float32).astype(dtype)
    p=PRMParams(*(jax.random.normal(k[2+i],(g,)) for i in range(4)), jax.random.uniform(k[6],(2,)), jnp.asarray(1.7))
    f=lambda fn: jax.value_and_grad(lambda x,p: (fn(x,p).astype(jnp.float32)*r.astype(jnp.float32)).sum(), argnums=(0,1))(x,p)
    y1=prm(x,p,ddof,True); y0=recalibrate(x,p,ddof=ddof)
    print(B,h,w,C,g,dtype.__name__, "y",float(jnp.abs(y1-y0).max()))
    _,(dx1,dp1)=f(lambda x,p: prm(x,p,ddof,True)); _,(dx0,dp0)=f(lambda x,p: recalibrate(x,p,ddof=ddof))
    print("  dx",float(jnp.abs((dx1-dx0).astype(jnp.float32)).max()/jnp.abs(dx0.astype(jnp.float32)).max()), *(f"{n} {float(jnp.abs(a-b).max()/(jnp.abs(b).max()+1e-9)):.1e}" for n,a,b in zip(p._fields,dp1,dp0)))
test(3,5,7,64,16); test(8,7,7,256,64,ddof=1); test(10,4,6,128,4,jnp.bfloat16)
