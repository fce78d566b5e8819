package dev.gatun.engine.cuda;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * A {@link CausalPlan}'s steps, told apart by what they compute and not by where: the pixels of an
 * image need a handful of kinds, and each part of a kind has a table of its positions by time.
 */
final class CausalSteps {
  /** A unit's computation that a step may hold; several where one time needs several positions. */
  record Part(int unit, int group, int turn) {}

  /** What is computed before the draw of a pass. */
  record Kind(List<Part> parts, int pass) {}

  /** Not computed at this time. */
  static final int NEVER = -1;

  private final CausalPlan plan;
  private final List<Kind> kinds = new ArrayList<>();
  private final int[] kindOf;
  private final Map<Part, int[]> positions = new HashMap<>();

  /**
   * Goes through all times of a plan.
   *
   * @param times height * width * passes
   */
  CausalSteps(CausalPlan plan, int times) {
    this.plan = plan;
    kindOf = new int[times];
    Map<CausalPlan.Unit, Integer> numbers = new IdentityHashMap<>();
    plan.units().forEach(unit -> numbers.put(unit, numbers.size()));
    Map<Kind, Integer> known = new HashMap<>();
    for (int t = 0; t < times; t++) {
      Map<Part, Integer> turns = new HashMap<>();
      List<Part> now = new ArrayList<>();
      for (CausalPlan.Step step : plan.steps(t)) {
        int unit = numbers.get(step.unit());
        int turn = turns.merge(new Part(unit, step.group(), 0), 1, Integer::sum) - 1;
        Part part = new Part(unit, step.group(), turn);
        positions.computeIfAbsent(part, p -> never(times))[t] =
            step.row() * step.unit().output().shape().dim(2) + Math.max(0, step.column());
        now.add(part);
      }
      Kind kind = new Kind(now, t % plan.passes());
      kindOf[t] = known.computeIfAbsent(kind, k -> kinds.size());
      if (kindOf[t] == kinds.size()) {
        kinds.add(kind);
      }
    }
  }

  private static int[] never(int times) {
    int[] none = new int[times];
    Arrays.fill(none, NEVER);
    return none;
  }

  List<Kind> kinds() {
    return kinds;
  }

  /** Index in {@link #kinds}. */
  int kindOf(int time) {
    return kindOf[time];
  }

  /** Of each part, the first position that it computes at each time, row * width + column. */
  Map<Part, int[]> positions() {
    return positions;
  }

  /**
   * Units that one kernel can compute together with the convolution before them: at the same times
   * and positions, and before anybody else reads that convolution's sums.
   *
   * @return the unit's number, and the convolution's
   */
  Map<Integer, Integer> joined() {
    Map<Integer, Map<Part, int[]>> where = new HashMap<>();
    positions.forEach((part, at) ->
        where
            .computeIfAbsent(part.unit, u -> new HashMap<>())
            .put(new Part(0, part.group, part.turn), at));
    Map<Value, Integer> producers = new IdentityHashMap<>();
    Map<Integer, Integer> joined = new HashMap<>();
    Set<Integer> taken = new HashSet<>();
    for (int u = 0; u < plan.units().size(); u++) {
      CausalPlan.Unit unit = plan.units().get(u);
      Value sums = unit.inputs().getFirst();
      Integer c = producers.get(sums);
      if (c != null
          && sums != plan.output()
          && CudaPixels.joins(plan.units().get(c), unit)
          && same(where.get(c), where.get(u))
          && readers(sums).findFirst().getAsInt() == u
          && taken.add(c)) {
        joined.put(u, c);
      }
      producers.put(unit.output(), u);
    }
    return joined;
  }

  /** The units that read a value, in order. */
  IntStream readers(Value value) {
    List<CausalPlan.Unit> units = plan.units();
    return IntStream.range(0, units.size()).filter(u -> units.get(u).inputs().contains(value));
  }

  private static boolean same(Map<Part, int[]> a, Map<Part, int[]> b) {
    return a != null
        && b != null
        && a.keySet().equals(b.keySet())
        && a.entrySet().stream().allMatch(e -> Arrays.equals(e.getValue(), b.get(e.getKey())));
  }
}
