package dev.gatun.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.function.Supplier;

/**
 * The functions of one opened file. Generated bindings look a name up in all that the process has
 * loaded, which may hold another version of the same library; so of them only the types are used.
 */
final class LibraryFunctions {
  private static final int MAX_TEXT = 1 << 16;

  private final LibraryFinder.Opened library;
  private final SymbolLookup symbols;

  LibraryFunctions(LibraryFinder.Opened library) {
    this.library = library;
    this.symbols = SymbolLookup.libraryLookup(library.file(), Arena.global());
  }

  LibraryFinder.Opened library() {
    return library;
  }

  /**
   * @param type the generated binding's; asked for once the name is known to be there, since its
   *     class does not initialize otherwise
   * @throws LibraryException if the library has no such function
   */
  MethodHandle bind(String name, Supplier<FunctionDescriptor> type) {
    MemorySegment address =
        symbols
            .find(name)
            .orElseThrow(() ->
                new LibraryException(
                    library + " has no " + name + ": it is another library or too old"));
    return Linker.nativeLinker().downcallHandle(address, type.get());
  }

  /** What a handle threw: none of these functions does by itself. */
  static RuntimeException rethrown(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return e instanceof RuntimeException known ? known : new IllegalStateException(e);
  }

  /** A string that a function returned; empty for a null pointer. */
  static String text(MemorySegment address) {
    return address.equals(MemorySegment.NULL)
        ? ""
        : HostMemory.at(address.address(), MAX_TEXT).getString(0);
  }
}
