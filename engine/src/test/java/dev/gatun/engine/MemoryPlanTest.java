package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MemoryPlanTest {
  private static final long ALIGNMENT = 256;

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void liveBlocksNeverOverlap(long seed) {
    Random random = new Random(seed);
    MemoryPlan plan = new MemoryPlan();
    TreeMap<Long, Long> live = new TreeMap<>();
    long bytes = 0;
    long peak = 0;
    for (int step = 0; step < 3000; step++) {
      boolean grow = live.isEmpty() || random.nextInt(100) < (step < 1500 ? 55 : 45);
      if (grow) {
        long size = random.nextInt(10) == 0 ? 0 : 1 + random.nextInt(5000);
        long offset = plan.allocate(size);
        assertEquals(0, offset % ALIGNMENT, "aligned");
        Map.Entry<Long, Long> before = live.floorEntry(offset);
        Map.Entry<Long, Long> after = live.ceilingEntry(offset);
        assertTrue(before == null || before.getKey() + before.getValue() <= offset, "overlap");
        assertTrue(after == null || offset + Math.max(1, size) <= after.getKey(), "overlap");
        assertTrue(offset + size <= plan.totalBytes(), "beyond the end");
        live.put(offset, Math.max(1, size));
        bytes += (Math.max(1, size) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        peak = Math.max(peak, bytes);
      } else {
        List<Long> offsets = new ArrayList<>(live.keySet());
        long offset = offsets.get(random.nextInt(offsets.size()));
        bytes -= (live.remove(offset) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        plan.free(offset);
      }
    }
    assertTrue(plan.totalBytes() >= peak, "less than what was live at once");
    assertTrue(plan.totalBytes() <= 2 * peak, "wasteful: " + plan.totalBytes() + " for " + peak);
  }

  @Test
  void freedMemoryIsUsedAgainAndHolesAreJoined() {
    MemoryPlan plan = new MemoryPlan();
    long a = plan.allocate(256);
    long b = plan.allocate(256);
    long c = plan.allocate(256);
    long guard = plan.allocate(256);
    plan.free(a);
    plan.free(c);
    plan.free(b); // joins both neighbours
    assertEquals(a, plan.allocate(3 * 256));
    assertEquals(4 * 256, plan.totalBytes());
    plan.free(guard);
    assertEquals(guard, plan.allocate(1000), "a hole at the end grows in place");
    assertEquals(3 * 256 + 1024, plan.totalBytes());
  }

  @Test
  void theSmallestHoleThatFitsIsTaken() {
    MemoryPlan plan = new MemoryPlan();
    long large = plan.allocate(1024);
    plan.allocate(1);
    long small = plan.allocate(512);
    plan.allocate(1);
    plan.free(large);
    plan.free(small);
    assertEquals(small, plan.allocate(300));
    assertEquals(large, plan.allocate(300));
  }
}
