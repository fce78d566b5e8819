package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class TogetherTest {
  @Test
  void tasksRunAtTheSameTime() {
    CyclicBarrier barrier = new CyclicBarrier(3);
    Runnable meets =
        () -> {
          try {
            barrier.await(20, TimeUnit.SECONDS);
          } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
            throw new IllegalStateException(e);
          }
        };
    Together.run(List.of(meets, meets, meets));
  }

  @Test
  void aFailureIsThrownOnceAllHaveEnded() {
    AtomicInteger ended = new AtomicInteger();
    IllegalStateException failure = new IllegalStateException("planted");
    Runnable slow =
        () -> {
          try {
            Thread.sleep(100);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          ended.incrementAndGet();
        };
    Runnable fails =
        () -> {
          throw failure;
        };
    for (List<Runnable> tasks : List.of(List.of(fails, slow), List.of(slow, fails))) {
      ended.set(0);
      assertSame(failure, assertThrows(IllegalStateException.class, () -> Together.run(tasks)));
      assertEquals(1, ended.get());
    }
    Runnable error =
        () -> {
          throw new AssertionError("planted");
        };
    assertThrows(AssertionError.class, () -> Together.run(List.of(slow, error)));
  }

  @Test
  void anInterruptIsKeptAndWaitsForAll() {
    AtomicInteger ended = new AtomicInteger();
    Thread caller = Thread.currentThread();
    Together.run(
        List.of(
            caller::interrupt,
            () -> {
              for (int i = 0; i < 100; i++) {
                Thread.yield();
              }
              ended.incrementAndGet();
            }));
    assertEquals(1, ended.get());
    assertTrue(Thread.interrupted());
  }
}
