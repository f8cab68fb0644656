import os, sys, time
os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", JAX_PLATFORMS="cpu")
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
jax.config.update("jax_enable_compilation_cache", False)
from prm_flax import PRMParams
from proto.gpu import prm
CFG='''gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84978434048 shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536 } platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA H100 80GB HBM3"'''
topo = topologies.get_topology_desc(platform="cuda", topology_name="", topology="1x1x4", target_config=CFG)
mesh = Mesh(np.array(topo.devices), ("data",))
b=int(sys.argv[1]); g=64
for hw,C in [(56,256),(28,512),(14,1024),(7,2048)]:
    x=jax.ShapeDtypeStruct((4*b,hw,hw,C),jnp.bfloat16)
    f32=lambda *s: jax.ShapeDtypeStruct(s,jnp.float32)
    p=PRMParams(*(f32(g) for _ in range(4)),f32(2),f32())
    def fwd(x,p): return jax.shard_map(lambda x,p: prm(x,p), mesh=mesh, in_specs=(P("data"),P()), out_specs=P("data"), check_vma=False)(x,p)
    def both(x,p,r):
        y,vjp=jax.vjp(fwd,x,p)
        return (y,*vjp(r))
    F=NamedSharding(mesh,P("data")); R=NamedSharding(mesh,P())
    for name,fn,args,ins,outs in (("fwd",fwd,(x,p),(F,R),F),("both",both,(x,p,x),(F,R,F),(F,F,R))):
        t=time.time()
        try:
            with jax.set_mesh(mesh): c=jax.jit(fn,in_shardings=ins,out_shardings=outs).lower(*args).compile()
        except Exception as e:
            import traceback; traceback.print_exc(limit=-6); raise SystemExit
        txt=c.as_text(); unit=b*hw*hw*C*2
        open(f"/root/fastgpu_{hw}_{name}.hlo","w").write(txt)
        entry=txt[txt.index("ENTRY"):]
        print(hw,C,name,f"{time.time()-t:.1f}s temp {c.memory_analysis().temp_size_in_bytes/unit:.3f}", [l.strip()[:90] for l in entry.splitlines() if "custom-call" in l or "fusion(" in l or "copy" in l], flush=True)
