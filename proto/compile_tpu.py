import os, sys, time
os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", ALLOW_MULTIPLE_LIBTPU_LOAD="1", JAX_PLATFORMS="cpu")
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
jax.config.update("jax_enable_compilation_cache", False)
from prm_flax import PRMParams
from proto.tpu import prm
topo = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
mesh = Mesh(np.array(topo.devices), ("data",))
b=int(sys.argv[1]); shapes=[(56,256),(28,512),(14,1024),(7,2048)]; g=64
for hw,C in shapes:
    x=jax.ShapeDtypeStruct((4*b,hw,hw,C),jnp.bfloat16)
    f32=lambda *s: jax.ShapeDtypeStruct(s,jnp.float32)
    p=PRMParams(*(f32(g) for _ in range(4)),f32(2),f32())
    def fwd(x,p): return jax.shard_map(lambda x,p: prm(x,p), mesh=mesh, in_specs=(P("data"),P()), out_specs=P("data"), check_vma=False)(x,p)
    def both(x,p,r):
        y,vjp=jax.vjp(fwd,x,p)
        return (y,*vjp(r))
    for name,fn,args in (("fwd",fwd,(x,p)),("both",both,(x,p,x))):
        for lay in ("auto","default"):
            F=Format(Layout.AUTO, NamedSharding(mesh,P("data"))) if lay=="auto" else NamedSharding(mesh,P("data"))
            R=NamedSharding(mesh,P())
            ins=(F,R) if name=="fwd" else (F,R,F)
            outs=F if name=="fwd" else (F,F,R)
            t=time.time()
            try:
                with jax.set_mesh(mesh): c=jax.jit(fn,in_shardings=ins,out_shardings=outs).lower(*args).compile()
            except Exception as e:
                print(hw,C,name,lay,"ERR",str(e)[:1500]); break
            unit=b*hw*hw*C*2
            txt=c.as_text()
            ca=c.cost_analysis()
            print(hw,C,name,lay,f"{time.time()-t:.1f}s bytes/unit {ca['bytes accessed']/unit:.2f} temp {c.memory_analysis().temp_size_in_bytes/unit:.2f} copies {sum(' copy(' in l or 'copy-start' in l or 'transpose(' in l for l in txt.splitlines())}", flush=True)
            open(f"/root/fast_{hw}_{name}_{lay}.hlo","w").write(txt)
