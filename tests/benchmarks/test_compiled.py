"""What is counted of a compiled program, on a text written by hand."""

from benchmarks.compiled import figures

TEXT = """HloModule jit_f

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%p), index=1
  %i = s32[] get-tuple-element(%p), index=0
  %y = f32[8]{0} negate(%x)
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %y)
}

%condition (q: (s32[], f32[8])) -> pred[] {
  ROOT %q = pred[] constant(false)
}

ENTRY %main (a: f32[8], n: s32[]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %n = s32[] parameter(1)
  %k = f32[8]{0} custom-call(%a), custom_call_target="tpu_custom_call"
  %s = (s32[], f32[8]{0}) tuple(%n, %k)
  %w = (s32[], f32[8]{0}) while(%s), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %r = f32[8]{0} get-tuple-element(%w), index=1
}
"""  # noqa: E501


class Compiled:
    temp_size_in_bytes = 32

    def as_text(self):
        return TEXT

    def memory_analysis(self):
        return self


def test_a_loop_counts_as_often_as_it_runs():
    # The kernel and three negations, each of which reads 32 bytes and writes 32.
    assert figures(Compiled()) == {
        "traffic_bytes": 4 * 64,
        "temporary_bytes": 32,
        "kernels": 4,
        "own_kernels": 1,
        "collectives": {},
    }
