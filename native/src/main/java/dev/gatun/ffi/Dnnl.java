package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.function.Supplier;

/**
 * oneDNN's CPU engine and stream: the root of every descriptor and primitive.
 *
 * <p>libgomp keeps a pool of threads per calling thread, so execute primitives from one platform
 * thread.
 */
public final class Dnnl implements AutoCloseable {
  /** Instruction sets by what they mean for speed; see {@link #isa()}. */
  public enum Isa {
    BELOW_AVX512,
    AVX512,
    AVX512_BF16,
    AMX
  }

  final MemorySegment engine;
  final MemorySegment stream;

  /**
   * @throws LibraryException if oneDNN cannot be opened
   */
  public Dnnl() {
    library();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(C_POINTER);
      check(dnnl_engine_create(out, dnnl_cpu(), 0), "dnnl_engine_create");
      engine = out.get(C_POINTER, 0);
      try {
        check(dnnl_stream_create(out, engine, dnnl_stream_default_flags()), "dnnl_stream_create");
      } catch (RuntimeException e) {
        dnnl_engine_destroy(engine);
        throw e;
      }
      stream = out.get(C_POINTER, 0);
    }
  }

  @Override
  public void close() {
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
  }

  /** OpenMP's own number of threads, which it keeps for each thread of the process. */
  static final class OpenMp {
    private static final MethodHandle GET =
        handle("omp_get_max_threads", FunctionDescriptor.of(ValueLayout.JAVA_INT));
    private static final MethodHandle SET =
        handle("omp_set_num_threads", FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));

    /** Of the OpenMP that oneDNN uses: a process may hold others, such as PyTorch's. */
    private static MethodHandle handle(String name, FunctionDescriptor type) {
      SymbolLookup itsOwn = SymbolLookup.libraryLookup(library().file(), Arena.global());
      return Linker.nativeLinker().downcallHandle(itsOwn.findOrThrow(name), type);
    }

    static int get() {
      try {
        return (int) GET.invokeExact();
      } catch (Throwable e) {
        throw new AssertionError(e);
      }
    }

    static void set(int threads) {
      try {
        SET.invokeExact(threads);
      } catch (Throwable e) {
        throw new AssertionError(e);
      }
    }
  }

  /** Has all that the calling thread makes or runs of oneDNN from now on use so many threads. */
  public static void useThreads(int threads) {
    OpenMp.set(threads);
  }

  /**
   * Makes something of oneDNN that will run on the calling thread alone: see {@link
   * DnnlPrimitive#executeOnOneThread}.
   */
  public static <T> T onOneThread(Supplier<T> work) {
    int threads = OpenMp.get();
    OpenMp.set(1);
    try {
      return work.get();
    } finally {
      OpenMp.set(threads);
    }
  }

  /** Which library is open; opens it if need be. */
  public static LibraryFinder.Opened library() {
    return Holder.open();
  }

  /** oneDNN's own version, such as {@code 3.13.0}. */
  public static String version() {
    library();
    MemorySegment v = HostMemory.at(dnnl_version().address(), 12);
    return v.get(C_INT, 0) + "." + v.get(C_INT, 4) + "." + v.get(C_INT, 8);
  }

  /** The best instruction set oneDNN will use: the CPU's, or less under ONEDNN_MAX_CPU_ISA. */
  public static Isa isa() {
    library();
    // oneDNN numbers its sets as bit masks, each containing those it builds on
    int isa = dnnl_get_effective_cpu_isa();
    if (contains(isa, dnnl_cpu_isa_avx512_core_amx())) {
      return Isa.AMX;
    }
    if (contains(isa, dnnl_cpu_isa_avx512_core_bf16())) {
      return Isa.AVX512_BF16;
    }
    return contains(isa, dnnl_cpu_isa_avx512_core()) ? Isa.AVX512 : Isa.BELOW_AVX512;
  }

  private static boolean contains(int isa, int wanted) {
    return (isa & wanted) == wanted;
  }

  /**
   * Turns a status into an exception.
   *
   * @throws DnnlException unless {@code status} is dnnl_success
   */
  public static void check(int status, String call) {
    if (status != 0) {
      throw new DnnlException(status, call);
    }
  }

  private static final class Holder {
    /** As in the bindings. */
    private static final String SONAME = "libdnnl.so.3";

    private static LibraryFinder.Opened opened;
    private static LibraryException failure;

    static synchronized LibraryFinder.Opened open() {
      if (failure != null) {
        throw failure;
      }
      if (opened == null) {
        try {
          LibraryFinder.requireLinuxX64();
          // Read once, by libgomp's constructor: its idle threads would spin and take the cores
          // from Java's own workers. What the user set stays.
          setEnvironment("OMP_WAIT_POLICY", "passive");
          setEnvironment("GOMP_SPINCOUNT", "2000");
          LibraryFinder.Opened found =
              new LibraryFinder("oneDNN (libdnnl.so.3)")
                  .property("gatun.dnnl")
                  .resource(
                      "/org/bytedeco/dnnl/linux-x86_64/libdnnl.so.3",
                      "/org/bytedeco/dnnl/linux-x86_64/libgomp.so.1")
                  .open();
          requireBound(found);
          opened = found;
        } catch (LibraryException e) {
          failure = e;
          throw e;
        }
      }
      return opened;
    }

    /** The bindings look names up by the library's soname, and threads are set in its OpenMP. */
    private static void requireBound(LibraryFinder.Opened found) {
      SymbolLookup symbols = SymbolLookup.libraryLookup(found.file(), Arena.global());
      MemorySegment own = symbols.find("dnnl_version").orElse(null);
      if (own == null || symbols.find("omp_set_num_threads").isEmpty()) {
        throw new LibraryException(
            found + " is not a oneDNN built for OpenMP: let gatun.dnnl name one, or nothing");
      }
      MemorySegment bound;
      try {
        bound = SymbolLookup.libraryLookup(SONAME, Arena.global()).findOrThrow("dnnl_version");
      } catch (IllegalArgumentException e) {
        throw new LibraryException(found + " is not oneDNN 3: its soname is not " + SONAME);
      }
      if (!own.equals(bound)) {
        throw new LibraryException(
            found
                + " is not the first "
                + SONAME
                + " of this process: open a device before what brings the other, or let gatun.dnnl"
                + " name that one");
      }
    }

    private static void setEnvironment(String name, String value) {
      Linker linker = Linker.nativeLinker();
      try (Arena arena = Arena.ofConfined()) {
        int status =
            (int)
                linker
                    .downcallHandle(
                        linker.defaultLookup().findOrThrow("setenv"),
                        FunctionDescriptor.of(
                            ValueLayout.JAVA_INT,
                            ValueLayout.ADDRESS,
                            ValueLayout.ADDRESS,
                            ValueLayout.JAVA_INT))
                    .invokeExact(arena.allocateFrom(name), arena.allocateFrom(value), 0);
        if (status != 0) {
          throw new LibraryException("setenv " + name + " failed");
        }
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new LibraryException("setenv " + name + " failed", e);
      }
    }
  }
}
