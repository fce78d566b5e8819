package dev.gatun.ffi;

import dev.gatun.ffi.nvrtc.NvrtcLibrary;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * NVIDIA's run-time compiler, of CUDA 13 or 12: CUDA C++ to code for a GPU. It needs neither a GPU
 * nor a driver. Threads may compile at the same time.
 */
public final class Nvrtc {
  private static final AddressLayout POINTER = NvrtcLibrary.C_POINTER;
  private static final Map<Integer, Nvrtc> OPENED = new HashMap<>();

  private final LibraryFinder.Opened library;
  private final MethodHandle errorString;
  private final MethodHandle getVersion;
  private final MethodHandle architectureCount;
  private final MethodHandle getArchitectures;
  private final MethodHandle create;
  private final MethodHandle destroy;
  private final MethodHandle compileProgram;
  private final MethodHandle logSize;
  private final MethodHandle getLog;
  private final MethodHandle cubinSize;
  private final MethodHandle getCubin;
  private final MethodHandle ptxSize;
  private final MethodHandle getPtx;
  private final int version;
  private final List<Integer> architectures;

  private Nvrtc(LibraryFunctions functions) {
    library = functions.library();
    errorString =
        functions.bind("nvrtcGetErrorString", NvrtcLibrary::nvrtcGetErrorString$descriptor);
    getVersion = functions.bind("nvrtcVersion", NvrtcLibrary::nvrtcVersion$descriptor);
    architectureCount =
        functions.bind(
            "nvrtcGetNumSupportedArchs", NvrtcLibrary::nvrtcGetNumSupportedArchs$descriptor);
    getArchitectures =
        functions.bind("nvrtcGetSupportedArchs", NvrtcLibrary::nvrtcGetSupportedArchs$descriptor);
    create = functions.bind("nvrtcCreateProgram", NvrtcLibrary::nvrtcCreateProgram$descriptor);
    destroy = functions.bind("nvrtcDestroyProgram", NvrtcLibrary::nvrtcDestroyProgram$descriptor);
    compileProgram =
        functions.bind("nvrtcCompileProgram", NvrtcLibrary::nvrtcCompileProgram$descriptor);
    logSize =
        functions.bind("nvrtcGetProgramLogSize", NvrtcLibrary::nvrtcGetProgramLogSize$descriptor);
    getLog = functions.bind("nvrtcGetProgramLog", NvrtcLibrary::nvrtcGetProgramLog$descriptor);
    cubinSize = functions.bind("nvrtcGetCUBINSize", NvrtcLibrary::nvrtcGetCUBINSize$descriptor);
    getCubin = functions.bind("nvrtcGetCUBIN", NvrtcLibrary::nvrtcGetCUBIN$descriptor);
    ptxSize = functions.bind("nvrtcGetPTXSize", NvrtcLibrary::nvrtcGetPTXSize$descriptor);
    getPtx = functions.bind("nvrtcGetPTX", NvrtcLibrary::nvrtcGetPTX$descriptor);
    version = readVersion();
    loadBuiltins();
    architectures = readArchitectures();
  }

  /** It asks for them by name when it compiles, and the loader looks in its own folders alone. */
  private void loadBuiltins() {
    String name = "libnvrtc-builtins.so." + version / 1000 + "." + version % 1000 / 10;
    Path builtins = library.file().resolveSibling(name);
    if (Files.isReadable(builtins)) {
      try {
        System.load(builtins.toString());
      } catch (UnsatisfiedLinkError e) {
        throw new LibraryException("cannot open " + builtins + ": " + e.getMessage(), e);
      }
    }
  }

  /**
   * Opens NVRTC, or returns it where it is open already.
   *
   * @param newestMajor the driver's major version of CUDA, 12 or more: code of a newer compiler
   *     would not load
   * @throws LibraryException naming each place tried
   */
  public static Nvrtc open(int newestMajor) {
    synchronized (OPENED) {
      return OPENED.computeIfAbsent(
          Math.min(newestMajor, 13), major -> open(NvidiaLibraries.nvrtc(major)));
    }
  }

  static Nvrtc open(LibraryFinder finder) {
    LibraryFinder.Opened opened = finder.open();
    try {
      return new Nvrtc(new LibraryFunctions(opened));
    } catch (NvrtcException e) {
      throw new LibraryException(opened + " does not answer: " + e.getMessage(), e);
    }
  }

  /** Which file, and which rule found it. */
  public LibraryFinder.Opened library() {
    return library;
  }

  /** As cuDriverGetVersion numbers them: 1000 * major + 10 * minor. */
  public int version() {
    return version;
  }

  /** The compute capabilities it knows as 10 * major + minor, ascending. */
  public List<Integer> architectures() {
    return architectures;
  }

  /**
   * Compiles one source.
   *
   * @param name what errors call it: {@code group_norm.cu}
   * @param headers by the name they are included with; there are no others but NVRTC's own
   * @param architecture {@code sm_80} for machine code of that GPU, {@code compute_80} for PTX
   * @param options further ones, such as {@code -std=c++17}
   * @return a cubin, or PTX with the zero at its end that the driver asks for
   * @throws NvrtcException whose message is the first error, and which has the whole log
   */
  public byte[] compile(
      String source,
      String name,
      Map<String, String> headers,
      String architecture,
      List<String> options) {
    List<String> all = new ArrayList<>(options);
    all.add("--gpu-architecture=" + architecture);
    try (Arena arena = Arena.ofConfined()) {
      List<String> names = List.copyOf(headers.keySet());
      MemorySegment program = arena.allocate(POINTER);
      check(
          "nvrtcCreateProgram " + name,
          (int)
              create.invokeExact(
                  program,
                  arena.allocateFrom(source),
                  arena.allocateFrom(name),
                  names.size(),
                  strings(arena, names.stream().map(headers::get).toList()),
                  strings(arena, names)));
      try {
        MemorySegment handle = program.get(POINTER, 0);
        int status = (int) compileProgram.invokeExact(handle, all.size(), strings(arena, all));
        if (status != NvrtcLibrary.NVRTC_SUCCESS()) {
          throw NvrtcException.ofLog(name, statusName(status), log(handle));
        }
        return architecture.startsWith("sm_")
            ? read("nvrtcGetCUBIN " + name, cubinSize, getCubin, handle)
            : read("nvrtcGetPTX " + name, ptxSize, getPtx, handle);
      } finally {
        int ignored = (int) destroy.invokeExact(program); // what it says now helps nobody
      }
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  private String log(MemorySegment program) {
    byte[] bytes = read("nvrtcGetProgramLog", logSize, getLog, program);
    int end = bytes.length;
    while (end > 0 && bytes[end - 1] == 0) {
      end--;
    }
    return new String(bytes, 0, end, StandardCharsets.UTF_8);
  }

  /** What one call sizes and another one fills. */
  private byte[] read(String call, MethodHandle size, MethodHandle fill, MemorySegment program) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
      check(call + " (its size)", (int) size.invokeExact(program, bytes));
      MemorySegment content = arena.allocate(Math.max(1, bytes.get(ValueLayout.JAVA_LONG, 0)));
      check(call, (int) fill.invokeExact(program, content));
      return content.asSlice(0, bytes.get(ValueLayout.JAVA_LONG, 0)).toArray(ValueLayout.JAVA_BYTE);
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  private int readVersion() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment major = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment minor = arena.allocate(ValueLayout.JAVA_INT);
      check("nvrtcVersion", (int) getVersion.invokeExact(major, minor));
      return 1000 * major.get(ValueLayout.JAVA_INT, 0) + 10 * minor.get(ValueLayout.JAVA_INT, 0);
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  private List<Integer> readArchitectures() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
      check("nvrtcGetNumSupportedArchs", (int) architectureCount.invokeExact(count));
      MemorySegment all =
          arena.allocate(ValueLayout.JAVA_INT, Math.max(1, count.get(ValueLayout.JAVA_INT, 0)));
      check("nvrtcGetSupportedArchs", (int) getArchitectures.invokeExact(all));
      return Arrays.stream(all.toArray(ValueLayout.JAVA_INT))
          .limit(count.get(ValueLayout.JAVA_INT, 0))
          .sorted()
          .boxed()
          .toList();
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  private void check(String call, int status) {
    if (status != NvrtcLibrary.NVRTC_SUCCESS()) {
      throw new NvrtcException(call + ": " + statusName(status));
    }
  }

  private String statusName(int status) {
    try {
      return LibraryFunctions.text((MemorySegment) errorString.invokeExact(status));
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  private static MemorySegment strings(Arena arena, List<String> texts) {
    MemorySegment array = arena.allocate(POINTER, Math.max(1, texts.size()));
    for (int i = 0; i < texts.size(); i++) {
      array.setAtIndex(POINTER, i, arena.allocateFrom(texts.get(i)));
    }
    return array;
  }
}
