package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.ShapeException;
import dev.gatun.engine.op.Taps.Tap;
import java.util.List;
import org.junit.jupiter.api.Test;

class TapsTest {
  @Test
  void masksHoldWhatComesBeforeThePixelInRasterOrder() {
    for (int k : new int[] {1, 3, 5, 7}) {
      if (k > 1) {
        List<Tap> a = Taps.masked(k, false).list();
        assertEquals(k * k / 2, a.size());
        assertTrue(a.stream().allMatch(t -> t.dy() < 0 || (t.dy() == 0 && t.dx() < 0)));
      }
      List<Tap> b = Taps.masked(k, true).list();
      assertEquals(k * k / 2 + 1, b.size());
      assertTrue(b.contains(new Tap(0, 0)));
      assertTrue(b.stream().allMatch(t -> t.dy() < 0 || (t.dy() == 0 && t.dx() <= 0)));
    }
    assertThrows(ShapeException.class, () -> Taps.masked(1, false));
  }

  @Test
  void rectanglesGoRowByRow() {
    assertArrayEquals(new int[] {-1, 0, -1, 1, 0, 0, 0, 1}, Taps.rectangle(-1, 0, 0, 1).toArray());
    assertArrayEquals(
        new int[] {-2, 0, -2, 2, 0, 0, 0, 2}, Taps.rectangle(-1, 0, 0, 1, 2).toArray());
    assertEquals(25, Taps.square(5).count());
    assertArrayEquals(new int[] {0, 0}, Taps.point().toArray());
    assertEquals("[-1,0,-1,1]", Taps.rectangle(-1, -1, 0, 1).toString());
  }

  @Test
  void noTapsAndTheSameTapTwiceAreRefused() {
    assertThrows(ShapeException.class, () -> new Taps(List.of()));
    assertThrows(ShapeException.class, () -> Taps.rectangle(1, 0, 0, 0));
    assertThrows(
        ShapeException.class, () -> new Taps(List.of(new Tap(0, 1), new Tap(0, 0), new Tap(0, 1))));
  }
}
