package dev.gatun.engine.cpu;

/** A thread's own arrays for one block of elements, small enough to stay in the first cache. */
final class Blocks {
  /** Elements in a block. */
  static final int SIZE = 1024;

  private static final ThreadLocal<Blocks> OWN = ThreadLocal.withInitial(Blocks::new);

  final float[] a = new float[SIZE];
  final float[] b = new float[SIZE];
  final float[] c = new float[SIZE];
  final float[] d = new float[SIZE];
  final float[] e = new float[SIZE];
  final float[] f = new float[SIZE];

  /** Two values an element. */
  final float[] pairs = new float[2 * SIZE];

  /** And as many more as a vector may have that is read from the last of them. */
  final byte[] bytes = new byte[SIZE + 8];

  /** As many as the widest vector has lanes. */
  final float[] lanes = new float[64];

  final double[] wideLanes = new double[64];

  private Blocks() {}

  static Blocks own() {
    return OWN.get();
  }
}
