"""The picture's geometry: places to the pixel where they are fixed, invariants where they are not."""

from __future__ import annotations

import math
from itertools import combinations
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.axes import MOST_TICKS, LogScale
from bench.report.bands import BANDS
from bench.report.label_places import LONGEST, Box, place_labels, shortened, text_width
from bench.report.scatter import ABOVE_AXIS, FLOOR_KL, MARK, PLOT, Datum, data_of, scatter

BASELINE = Datum("baseline", 1.0, None, None, 0.0, True, True)
FLOOR_Y = PLOT.bottom - ABOVE_AXIS


def datum(name: str, ratio: float, kl: float, on_front: bool = False) -> Datum:
    return Datum(name, ratio, ratio * 0.95, ratio * 1.05, kl, False, on_front)


class TestLogScale:
    def test_equal_factors_are_equal_distances(self) -> None:
        scale = LogScale(0.1, 10, 0, 200)
        assert [scale.at(value) for value in (0.1, 1, 10)] == [0, 100, 200]

    @pytest.mark.parametrize("value", [0.0, -3.0, 0.01])
    def test_below_the_scale_is_its_start(self, value: float) -> None:
        assert LogScale(0.1, 10, 5, 200).at(value) == 5

    def test_above_the_scale_is_its_end(self) -> None:
        assert LogScale(0.1, 10, 5, 200).at(1e9) == 200

    @pytest.mark.parametrize(
        ("low", "high", "wanted"),
        [
            (0.68, 1.05, ["0.7", "0.75", "0.8", "0.85", "0.9", "0.95", "1"]),
            (0.55, 1.05, ["0.6", "0.7", "0.8", "0.9", "1"]),
            (0.28, 2.2, ["0.3", "0.5", "0.7", "1", "1.5", "2"]),
            (0.05, 3, ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
            (0.001, 100, ["0.001", "0.01", "0.1", "1", "10", "100"]),
        ],
    )
    def test_ticks_are_round_numbers(self, low: float, high: float, wanted: list[str]) -> None:
        assert [tick.text for tick in LogScale(low, high, 0, 500).ticks()] == wanted

    @given(low=st.floats(1e-9, 1e9), factor=st.floats(1.5, 1e12))
    def test_ticks_stay_few_and_inside(self, low: float, factor: float) -> None:
        ticks = LogScale(low, low * factor, 0, 500).ticks()
        assert len(ticks) <= MOST_TICKS
        assert all(0 <= tick.at <= 500 for tick in ticks)
        assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)

    def test_the_lowest_decade_says_that_it_holds_what_is_below(self) -> None:
        assert [tick.text for tick in LogScale(1e-3, 1, 0, 9).decades()] == ["≤ 0.001", "0.01", "0.1", "1"]


class TestScatter:
    def test_nothing_to_draw_without_a_variant(self) -> None:
        assert scatter([]) is None
        assert scatter([BASELINE]) is None

    def test_the_baseline_stands_at_one_on_the_floor(self) -> None:
        picture = scatter([BASELINE, datum("bf16", 0.6, 0.001)])
        assert picture is not None
        base = picture.marks[0]
        assert (base.x, base.y, base.whisker) == (picture.one_x, FLOOR_Y, None)

    def test_cheaper_is_left_and_closer_is_lower(self) -> None:
        picture = scatter([BASELINE, datum("a", 0.5, 0.5), datum("b", 0.8, 0.01)])
        assert picture is not None
        base, a, b = picture.marks
        assert a.x < b.x < base.x
        assert a.y < b.y < base.y

    def test_the_whisker_is_the_interval(self) -> None:
        picture = scatter([BASELINE, Datum("a", 0.5, 0.4, 0.6, 0.1), Datum("b", 0.5, None, None, 0.2)])
        assert picture is not None
        _base, a, b = picture.marks
        assert a.whisker is not None
        assert a.whisker[0] < a.x < a.whisker[1]
        assert b.whisker is None
        tick = {tick.text: tick.at for tick in picture.x_ticks}
        assert a.whisker == (tick["0.4"], tick["0.6"])

    @pytest.mark.parametrize("kl", [0.0, 1e-12, FLOOR_KL])
    def test_drift_at_or_below_the_floor_sits_on_it(self, kl: float) -> None:
        picture = scatter([BASELINE, datum("a", 0.9, kl)])
        assert picture is not None
        assert picture.marks[1].y == FLOOR_Y
        assert picture.y_ticks[0].at == FLOOR_Y
        assert picture.y_ticks[0].text.startswith("≤")

    def test_drift_above_one_nat_makes_room_for_itself(self) -> None:
        usual, high = (scatter([BASELINE, datum("a", 0.9, kl)]) for kl in (0.5, 14.0))
        assert usual is not None
        assert high is not None
        assert usual.y_ticks[-1].text == "1"
        assert high.y_ticks[-1].text == "100"
        assert all(PLOT.top < mark.y for mark in high.marks)

    def test_two_equal_arms_do_not_look_far_apart(self) -> None:
        picture = scatter([BASELINE, Datum("same", 1.004, 0.99, 1.02, 0.0)])
        assert picture is not None
        assert abs(picture.marks[1].x - picture.one_x) < 8

    def test_bands_cover_the_plot_in_order(self) -> None:
        picture = scatter([BASELINE, datum("a", 0.9, 0.1)])
        assert picture is not None
        assert [band.words for band in picture.bands] == [words for _limit, words in BANDS]
        assert picture.bands[0].bottom == PLOT.bottom
        assert picture.bands[-1].top == PLOT.top
        for low, high in zip(picture.bands, picture.bands[1:], strict=False):
            assert low.top == high.bottom

    def test_the_front_is_a_staircase_through_its_marks(self) -> None:
        picture = scatter([datum("cheap", 0.3, 1.0, True), datum("mid", 0.6, 0.001, True), BASELINE])
        assert picture is not None
        cheap, mid, base = ((mark.x, mark.y) for mark in picture.marks)
        assert picture.front == (cheap, (mid[0], cheap[1]), mid, (base[0], mid[1]), base)

    @given(
        st.lists(
            st.builds(
                Datum,
                name=st.text(max_size=60),
                ratio=st.floats(1e-6, 1e6),
                low=st.none() | st.floats(1e-6, 1e6),
                high=st.none() | st.floats(1e-6, 1e6),
                kl=st.floats(0, 1e6),
                on_front=st.booleans(),
            ),
            min_size=1,
            max_size=12,
        )
    )
    def test_every_mark_lies_in_the_plot(self, data: list[Datum]) -> None:
        picture = scatter([BASELINE, *data])
        assert picture is not None
        for mark in picture.marks:
            assert PLOT.left <= mark.x <= PLOT.right
            assert PLOT.top <= mark.y <= PLOT.bottom
            assert math.isfinite(mark.label.x + mark.label.y)
        assert picture == scatter([BASELINE, *data])


class TestData:
    def test_only_rows_with_a_ratio_and_a_drift(self, sample: ModuleType) -> None:
        found = {datum.name: datum for datum in data_of(sample.summary(sample.rich_run()), "")}
        assert list(found) == ["baseline", "bf16", "int8-dynamic", "nf4", "same", "few-samples"]
        assert found["bf16"] == Datum("bf16", 0.633, 0.611, 0.656, 0.00144, False, True)
        assert (found["few-samples"].low, found["few-samples"].high) == (None, None)
        assert not found["nf4"].on_front

    def test_a_cell_of_a_sweep_is_its_own_picture(self, sample: ModuleType) -> None:
        run = sample.summary(sample.sweep_run())
        assert [datum.name for datum in data_of(run, "batch_size=8")] == ["baseline", "bf16"]
        assert data_of(run, "batch_size=2") == ()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
    def test_what_has_no_place_on_the_scale_is_left_out(self, sample: ModuleType, bad: float) -> None:
        row = sample.drifting(sample.variant("odd"), 0.1)
        run = sample.run([sample.baseline(), row], [sample.ratio("odd", bad, 0.5, 0.6, "better")])
        assert [datum.name for datum in data_of(sample.summary(run), "")] == ["baseline"]

    def test_an_interval_down_to_zero_is_no_whisker(self, sample: ModuleType) -> None:
        row = sample.drifting(sample.variant("odd"), 0.1)
        run = sample.run([sample.baseline(), row], [sample.ratio("odd", 0.5, 0.0, 0.6, "better")])
        odd = data_of(sample.summary(run), "")[1]
        assert (odd.low, odd.high) == (None, None)

    def test_a_run_without_a_measured_baseline(self, sample: ModuleType) -> None:
        assert data_of(sample.summary(sample.invalid_run()), "") == ()


class TestLabels:
    def test_a_lone_mark_has_its_name_to_the_right(self) -> None:
        (label,) = place_labels(["bf16"], [(200, 200)], [], MARK, PLOT)
        assert (label.text, label.x, label.y, label.anchor, label.leader) == (
            "bf16",
            211,
            204,
            "start",
            False,
        )

    def test_at_the_right_edge_it_stands_to_the_left(self) -> None:
        (label,) = place_labels(["bf16"], [(PLOT.right - 12, 200)], [], MARK, PLOT)
        assert label.anchor == "end"

    def test_a_line_to_both_sides_sends_it_above(self) -> None:
        (label,) = place_labels(["bf16"], [(200, 200)], [Box(100, 196, 300, 204)], MARK, PLOT)
        assert (label.anchor, label.y) == ("middle", 188)

    def test_names_of_close_marks_do_not_cover_each_other(self) -> None:
        places = [(300.0 + 9 * i, 200.0 + 7 * (i % 3)) for i in range(7)]
        labels = place_labels([f"variant-{i}" for i in range(7)], places, [], MARK, PLOT)
        assert all(a.box.overlap(b.box) == 0 for a, b in combinations(labels, 2))
        assert all(label.box.overlap(PLOT) == pytest.approx(label.box.area) for label in labels)

    def test_long_names_are_cut_and_wide_letters_counted_wide(self) -> None:
        assert shortened("x" * LONGEST) == "x" * LONGEST
        assert shortened("x" * 99) == "x" * (LONGEST - 1) + "…"
        assert text_width("模型") == text_width("abcd")
