package dev.gatun.ffi;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.time.Duration;

/** What tests say to the emulated driver; see {@link CudaLibrary.Kind#EMULATED}. */
public final class CudaEmulator {
  /** The order in which a block's threads, and streams, get their turn. */
  public enum Order {
    FIFO,
    LIFO,
    SHUFFLE
  }

  private CudaEmulator() {}

  /** Sets the order from now on; {@code seed} is for {@link Order#SHUFFLE} alone. */
  public static void setOrder(Order order, long seed) {
    requireOpen();
    try {
      check("gatunEmuSetOrder", (int) Calls.SET_ORDER.invokeExact(order.ordinal(), seed));
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /** How long a kernel may run before it is stopped with CUDA_ERROR_LAUNCH_TIMEOUT; zero: ever. */
  public static void setWatchdog(Duration limit) {
    requireOpen();
    try {
      check("gatunEmuSetWatchdogMillis", (int) Calls.SET_WATCHDOG.invokeExact(limit.toMillis()));
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /** The latest fault: kernel, block, thread and what it did; empty if there was none. */
  public static String lastFault() {
    requireOpen();
    try {
      MemorySegment text = (MemorySegment) Calls.LAST_FAULT.invokeExact();
      return LibraryFunctions.text(text);
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /** Forgets the latest fault and makes faulted contexts usable again. */
  public static void clearFault() {
    requireOpen();
    try {
      check("gatunEmuClearFault", (int) Calls.CLEAR_FAULT.invokeExact());
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /** {@link #lastFault} where the emulator is what runs, else empty. */
  static String faultText() {
    return CudaLibrary.isOpen(CudaLibrary.Kind.EMULATED) ? lastFault() : "";
  }

  private static void requireOpen() {
    if (!CudaLibrary.isOpen(CudaLibrary.Kind.EMULATED)) {
      throw new IllegalStateException("the CUDA emulator is not open in this process");
    }
  }

  private static void check(String call, int status) {
    if (status != 0) {
      throw CudaException.ofStatus(call, status);
    }
  }

  /** Bound at first use, when the library is open. */
  private static final class Calls {
    static final MethodHandle SET_ORDER =
        bind(
            "gatunEmuSetOrder",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG));
    static final MethodHandle SET_WATCHDOG =
        bind(
            "gatunEmuSetWatchdogMillis",
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG));
    static final MethodHandle LAST_FAULT =
        bind("gatunEmuLastFault", FunctionDescriptor.of(ValueLayout.ADDRESS));
    static final MethodHandle CLEAR_FAULT =
        bind("gatunEmuClearFault", FunctionDescriptor.of(ValueLayout.JAVA_INT));

    private static MethodHandle bind(String name, FunctionDescriptor descriptor) {
      return Linker.nativeLinker()
          .downcallHandle(SymbolLookup.loaderLookup().findOrThrow(name), descriptor);
    }
  }
}
