package dev.gatun.ffi;

import java.nio.file.Path;
import jcuda.LogLevel;
import jcuda.driver.JCudaDriver;
import jcuda.jcudnn.JCudnn;

/**
 * Makes JCuda load its native parts from our private folder.
 *
 * <p>JCuda's loader asks {@link System#loadLibrary}, and then opens a file of a fixed name in
 * {@code java.io.tmpdir}, taking whatever lies there. So while its classes initialize, and then
 * only, that property names the folder that holds the file we have unpacked and checked.
 */
final class JCudaLoader {
  // JCudnn's classes are of 11.7, but they ask for the native part of JCuda's own version
  private static final String DRIVER = "/lib/libJCudaDriver-12.6.0-linux-x86_64.so";
  private static final String DNN = "/lib/libJCudnn-12.6.0-linux-x86_64.so";

  private static boolean driverReady;
  private static boolean dnnReady;

  private JCudaLoader() {}

  /** Initializes JCuda's driver binding; libcuda.so.1 must be open. */
  static synchronized void driver() {
    if (!driverReady) {
      loadFrom(NativeFiles.unpack(DRIVER), () -> JCudaDriver.setLogLevel(LogLevel.LOG_QUIET));
      JCudaDriver.setExceptionsEnabled(true);
      driverReady = true;
    }
  }

  /** Initializes JCudnn; libcudnn.so.9 must be open. */
  static synchronized void dnn() {
    if (!dnnReady) {
      loadFrom(NativeFiles.unpack(DNN), JCudnn::initialize);
      JCudnn.setExceptionsEnabled(true);
      dnnReady = true;
    }
  }

  private static void loadFrom(Path library, Runnable initialize) {
    // JNI functions are found by any class of the loader that opened the library
    try {
      System.load(library.toString());
      // java.io and java.nio read the property at their start: only code like JCuda's sees this
      String before = System.setProperty("java.io.tmpdir", library.getParent().toString());
      try {
        initialize.run();
      } finally {
        if (before == null) {
          System.clearProperty("java.io.tmpdir");
        } else {
          System.setProperty("java.io.tmpdir", before);
        }
      }
    } catch (UnsatisfiedLinkError | ExceptionInInitializerError | NoClassDefFoundError e) {
      throw new LibraryException("cannot open JCuda's " + library.getFileName() + ": " + e, e);
    }
  }
}
