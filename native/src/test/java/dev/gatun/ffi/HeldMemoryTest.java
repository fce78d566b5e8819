package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.Test;

class HeldMemoryTest {
  @Test
  void noneOfTheArenasCanBeClosedMeanwhile() {
    Arena shared = Arena.ofShared();
    Arena confined = Arena.ofConfined();
    List<MemorySegment> memory = List.of(shared.allocate(8), confined.allocate(8));
    int[] runs = {0};
    HeldMemory.during(
        memory,
        () -> {
          runs[0]++;
          assertThrows(IllegalStateException.class, shared::close);
          assertThrows(IllegalStateException.class, confined::close);
          // again, inside of itself
          HeldMemory.during(memory, () -> runs[0]++);
          assertThrows(IllegalStateException.class, shared::close);
        });
    assertEquals(2, runs[0]);
    shared.close();
    confined.close();
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> HeldMemory.during(memory, () -> {}));
    assertTrue(e.getMessage().contains("closed their arena"), e.getMessage());
  }

  @Test
  void anExceptionComesThroughAndLetsGo() {
    try (Arena arena = Arena.ofConfined()) {
      RuntimeException thrown = new RuntimeException("as it was");
      RuntimeException seen =
          assertThrows(
              RuntimeException.class,
              () ->
                  HeldMemory.during(
                      List.of(arena.allocate(8)),
                      () -> {
                        throw thrown;
                      }));
      assertSame(thrown, seen);
    }
  }

  @Test
  void nothingToHoldIsNoWork() {
    int[] runs = {0};
    HeldMemory.during(List.of(), () -> runs[0]++);
    assertEquals(1, runs[0]);
  }
}
