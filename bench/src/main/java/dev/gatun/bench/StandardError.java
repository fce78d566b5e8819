package dev.gatun.bench;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The JVM warns of the incubating Vector API on its standard error, and cannot be told not to. The
 * launcher therefore starts it with a filter there and the user's own standard error as descriptor
 * 3; once that line is out, the descriptor takes its place.
 */
final class StandardError {
  private static final int STDERR = 2;

  private StandardError() {}

  @SuppressWarnings("restricted") // the one native call that is not the engine's
  static void restore() {
    int kept = Integer.getInteger("gatun.stderr", -1);
    if (kept < 0) {
      return;
    }
    try {
      Linker linker = Linker.nativeLinker();
      FunctionDescriptor type =
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT);
      MethodHandle dup2 = linker.downcallHandle(linker.defaultLookup().findOrThrow("dup2"), type);
      int result = (int) dup2.invokeExact(kept, STDERR);
      if (result != STDERR) {
        System.err.println("gatun: messages go through the launcher's filter");
      }
    } catch (Throwable e) {
      // what is printed still arrives, if later
      System.err.println("gatun: messages go through the launcher's filter: " + e);
    }
  }
}
