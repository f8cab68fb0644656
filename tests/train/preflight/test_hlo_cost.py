"""Traffic and collectives of programs written by hand."""

import pytest

from train.preflight.hlo_cost import Collective, collectives, traffic
from train.preflight.hlo_text import memory_sizes, parse, sizes, trips

ENTRY = """HloModule step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}
%body
ENTRY %main (p: f32[8,16]) -> f32[8,16] {
  %p = f32[8,16]{1,0} parameter(0), metadata={op_name="state.params[\\'a\\']"}
%lines
}
"""
X = 8 * 16 * 4


def program(*lines, body=""):
    text = ENTRY.replace("%lines", "\n".join(f"  {line}" for line in lines))
    return parse(text.replace("%body", body))


def test_operands_are_read_and_results_written():
    lines = [
        "%q = bf16[8,16]{1,0} fusion(%p), kind=kLoop, calls=%f",
        "%v = f32[8,16]{1,0} bitcast(%p)",
        "%t = (f32[8,16]{1,0}, /*index=1*/bf16[8,16]{1,0}) tuple(%v, %q)",
        "%g = f32[8,16]{1,0} get-tuple-element(%t), index=0",
        'ROOT %r = f32[8,16]{1,0} add(%g, /*index=1*/%q), metadata={op_name="a(b)"}',
    ]
    assert traffic(program(*lines)) == (X + X // 2) + (X + X // 2 + X)


def test_custom_calls_with_several_results_count_all():
    call = '(f32[8,16]{1,0}, u8[100]{0}) custom-call(%p, %p), custom_call_target="conv"'
    assert traffic(program(f"ROOT %c = {call}")) == 3 * X + 100


def test_what_lives_on_the_chip_is_free():
    lines = [
        "%s = (f32[8,16]{1,0:T(8,128)S(1)}, f32[8,16]{1,0:T(8,128)}, u32[]{:S(2)}) "
        "copy-start(%p)",
        "%d = f32[8,16]{1,0:T(8,128)S(1)} copy-done(%s)",
        "ROOT %n = f32[8,16]{1,0:T(8,128)S(1)} negate(%d)",
    ]
    assert traffic(program(*lines)) == 8 * 128 * 4  # the copy reads its source


def test_of_a_slice_only_the_slice_moves():
    fused = """
%f (a: f32[8,16], i: s32[]) -> f32[1,16] {
  %a = f32[8,16]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %s = f32[1,16]{1,0} dynamic-slice(%a, %i, %i), dynamic_slice_sizes={1,16}
  ROOT %n = f32[1,16]{1,0} negate(%s)
}
"""
    lines = [
        "%i = s32[] constant(3)",
        "%s = f32[1,16]{1,0} fusion(%p, %i), kind=kLoop, calls=%f",
        "%d = f32[1,16]{1,0} dynamic-slice(%p, %i, %i)",
        "ROOT %u = f32[8,16]{1,0} dynamic-update-slice(%p, %d, %i, %i)",
    ]
    row = X // 8
    updated = row + 4 + 4 + row
    assert traffic(program(*lines, body=fused)) == (row + 4 + row) + 2 * row + updated


CHAIN = """
%f (a: f32[8,16], i: s32[]) -> f32[1,16] {
  %i = s32[] parameter(1)
  %a = f32[8,16]{1,0} parameter(0)
  %v = f32[16,8]{0,1} bitcast(%a)
  %c = bf16[16,8]{0,1} convert(%v)
  %s = bf16[16,1]{0,1} dynamic-slice(%c, %i, %i), dynamic_slice_sizes={16,1}
  ROOT %n = f32[16,1]{0,1} convert(%s)
}
"""
# What reads all of it wins, and no more than all of it is read.
WHOLE = CHAIN.replace("convert(%s)", "reduce(%c, %s)")
TWICE = CHAIN.replace(
    "  ROOT", "  %t = f32[16,8]{0,1} slice(%c)\n  %u = f32[16,8]{0,1} slice(%v)\n  ROOT"
)


@pytest.mark.parametrize("body, read", [(CHAIN, 32), (WHOLE, X), (TWICE, X)])
def test_a_slice_of_what_is_only_renamed_or_converted(body, read):
    lines = [
        "%i = s32[] constant(3)",
        "ROOT %s = f32[16,1]{0,1} fusion(%p, %i), kind=kLoop, calls=%f",
    ]
    assert traffic(program(*lines, body=body)) == read + 4 + X // 8


SCATTER = """
%f (u: f32[2,16], i: s32[2], a: f32[8,16]) -> f32[8,16] {
  %i = s32[2]{0} parameter(1)
  %a = f32[8,16]{1,0} parameter(2)
  %u = f32[2,16]{1,0} parameter(0)
  %n = f32[2,16]{1,0} negate(%u)
  %v = f32[8,16]{1,0} bitcast(%a)
  %s = f32[8,16]{1,0} scatter(%v, %i, %n), update_window_dims={1}, to_apply=%sum
  ROOT %b = f32[8,16]{1,0} bitcast(%s)
}
"""


def test_an_update_in_place_leaves_the_rest_alone():
    lines = [
        "%i = s32[2]{0} constant({1, 3})",
        "%u = f32[2,16]{1,0} slice(%p), slice={[0:2], [0:16]}",
        "%f = f32[8,16]{1,0} fusion(%u, %i, %p), kind=kInput, calls=%f",
        "ROOT %s = f32[8,16]{1,0} scatter(%f, %i, %u), to_apply=%sum",
    ]
    rows = X // 4
    once = rows + 8 + 2 * rows  # reads values and places, adds to what is there
    assert traffic(program(*lines, body=SCATTER)) == 2 * rows + once + once


def test_what_is_not_updated_in_place_is_written_whole():
    made = SCATTER.replace("bitcast(%a)", "negate(%a)")
    lines = [
        "%i = s32[2]{0} constant({1, 3})",
        "%u = f32[2,16]{1,0} slice(%p), slice={[0:2], [0:16]}",
        "ROOT %f = f32[8,16]{1,0} fusion(%u, %i, %p), kind=kInput, calls=%f",
    ]
    rows = X // 4
    assert traffic(program(*lines, body=made)) == 2 * rows + rows + 8 + X + X


LOOP = """
%condition (c: (s32[], f32[8,16])) -> pred[] {
  %c = (s32[], f32[8,16]{1,0}) parameter(0)
  %n = s32[] constant(5)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %l = pred[] compare(%i, %n), direction=LT
}
%loop (c: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %c = (s32[], f32[8,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %x = f32[8,16]{1,0} get-tuple-element(%c), index=1
  %y = f32[8,16]{1,0} all-reduce(%x), to_apply=%sum
  ROOT %t = (s32[], f32[8,16]{1,0}) tuple(%i, %y)
}
"""
WHILE = [
    "%z = s32[] constant(0)",
    "%t = (s32[], f32[8,16]{1,0}) tuple(%z, %p)",
    "ROOT %w = (s32[], f32[8,16]{1,0}) while(%t), condition=%condition, body=%loop",
]
KNOWN = ', backend_config={"known_trip_count":{"n":"7"}}'


@pytest.mark.parametrize("said, runs", [("", 5), (KNOWN, 7)])
def test_a_loop_counts_as_often_as_it_runs(said, runs):
    made = program(*WHILE[:2], WHILE[2] + said, body=LOOP)
    assert trips(made, made.computations["main"]["w"]) == runs
    assert traffic(made) == runs * 2 * X
    assert collectives(made) == {"all-reduce": Collective(runs, runs * X)}


def test_a_loop_of_unknown_length_counts_once():
    made = program(*WHILE, body=LOOP.replace("direction=LT", "direction=NE"))
    assert traffic(made) == 2 * X


def test_collectives_hand_in_their_operands():
    inside = """
%g (a: f32[8,16]) -> f32[2,16] {
  %a = f32[8,16]{1,0} parameter(0)
  ROOT %s = f32[2,16]{1,0} reduce-scatter(%a), dimensions={0}, to_apply=%sum
}
"""
    lines = [
        "%r = f32[8,16]{1,0} all-reduce-start(%p), channel_id=1, to_apply=%sum",
        "%e = f32[8,16]{1,0} all-reduce-done(%r)",
        "%b = (f32[8,16]{1,0}, f32[8,16]{1,0}) all-reduce(%p, %e), to_apply=%sum",
        "%h = f32[32,16]{1,0} all-gather(%e), dimensions={0}",
        "ROOT %k = f32[2,16]{1,0} fusion(%e), kind=kCustom, calls=%g",
    ]
    assert collectives(program(*lines, body=inside)) == {
        "all-reduce": Collective(2, 3 * X),
        "all-gather": Collective(1, X),
        "reduce-scatter": Collective(1, X),
    }


SIZES = {
    "f32[]": ([4], [4]),
    "(bf16[3,5]{1,0}, pred[7]{0}, token[])": ([30, 7, 0], [30, 7, 0]),
    "u4[16]{0}": ([8], [8]),
    "f8e4m3fn[16]{0}": ([16], [16]),
    "f32[4,100]{1,0:T(8,128)}": ([1600], [4096]),
    # The layout's first axis is the fastest.
    "f32[100,4]{0,1:T(8,128)}": ([1600], [4096]),
    "bf16[2,9,4]{2,1,0:T(8,128)(2,1)}": ([144], [2 * 16 * 128 * 2]),
    "f32[4,100]{1,0:T(8,128)S(1)}": ([1600], [0]),
}


@pytest.mark.parametrize("kind", SIZES)
def test_sizes(kind):
    logical, memory = SIZES[kind]
    assert sizes(kind) == logical
    assert memory_sizes(kind) == memory


def test_a_text_that_is_no_program():
    with pytest.raises(ValueError, match="starts with ENTRY; got 'module @jit_step"):
        parse("module @jit_step {}")
