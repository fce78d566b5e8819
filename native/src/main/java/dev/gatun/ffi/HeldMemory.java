package dev.gatun.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.List;

/**
 * Keeps memory from being freed by its owner while it is used through its address, by other threads
 * too.
 *
 * <p>Java promises that no arena is closed during a native call that was handed memory of it. So
 * the work runs inside one: {@code bsearch} over a single element calls its comparison once and
 * does nothing else.
 */
public final class HeldMemory {
  private static final MethodHandle BSEARCH;
  private static final MemorySegment COMPARE;

  static {
    Linker linker = Linker.nativeLinker();
    BSEARCH =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("bsearch"),
            FunctionDescriptor.of(
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.ADDRESS));
    try {
      MethodHandle compare =
          MethodHandles.lookup()
              .findStatic(
                  HeldMemory.class,
                  "compare",
                  MethodType.methodType(int.class, MemorySegment.class, MemorySegment.class));
      COMPARE =
          linker.upcallStub(
              compare,
              FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS),
              Arena.global());
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private static final class Work {
    final Runnable action;
    Throwable failure;

    Work(Runnable action) {
      this.action = action;
    }
  }

  private static final ThreadLocal<Work> CURRENT = new ThreadLocal<>();

  private HeldMemory() {}

  /**
   * Runs {@code action} on this thread. Until it returns, whoever closes an arena that one of the
   * segments belongs to gets an {@link IllegalStateException} instead.
   *
   * @param memory native segments; one of each arena is enough
   * @throws IllegalStateException if an arena was closed before
   * @throws WrongThreadException if an arena is confined to another thread
   */
  public static void during(List<MemorySegment> memory, Runnable action) {
    if (memory.isEmpty()) {
      action.run();
      return;
    }
    MemorySegment first = memory.getFirst();
    if (!first.scope().isAlive()) {
      throw new IllegalStateException(
          "the owner of " + first.byteSize() + " bytes of memory has closed their arena");
    }
    if (!first.isAccessibleBy(Thread.currentThread())) {
      throw new WrongThreadException(
          "memory of a confined arena used by thread '"
              + Thread.currentThread().getName()
              + "', which does not own it: use Arena.ofShared()");
    }
    Work work = new Work(() -> during(memory.subList(1, memory.size()), action));
    CURRENT.set(work);
    try {
      MemorySegment unused = (MemorySegment) BSEARCH.invokeExact(first, first, 1L, 1L, COMPARE);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
    switch (work.failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable e -> throw new IllegalStateException(e);
    }
  }

  private static int compare(MemorySegment key, MemorySegment element) {
    Work work = CURRENT.get();
    CURRENT.remove();
    try {
      work.action.run();
    } catch (Throwable e) {
      // an exception that left native code would end the process
      work.failure = e;
    }
    return 0;
  }
}
