package dev.gatun.engine.cpu;

import dev.gatun.engine.Shape;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlPrimitive.ConvGeometry;
import java.util.List;

/** The dense kernel that covers a list of taps. */
record ConvBox(int top, int left, int height, int width, int stepH, int stepW, int[] cells) {
  static final int NO_CELL = -1; // of a tap that reads nothing but zeros

  static ConvBox of(Conv2d op, Shape x, Shape y) {
    return of(op, x, y, Integer.MIN_VALUE);
  }

  /**
   * The box for a weight gradient in bf16: oneDNN's AMX form wants no more rows of padding than
   * half the kernel has (else 30 ms where 4 would do), so rows of unused taps are added below.
   */
  static ConvBox roomy(Conv2d op, Shape x, Shape y) {
    ConvBox tight = of(op, x, y);
    return tight.stepH == 1 && -2 * tight.top <= x.dim(1) ? of(op, x, y, -tight.top - 1) : tight;
  }

  private static ConvBox of(Conv2d op, Shape x, Shape y, int leastBottom) {
    List<Taps.Tap> taps = op.taps().list();
    // oneDNN takes no negative padding, so the box always holds the pixel itself; taps that never
    // meet the image stay out, since with them oneDNN has given wrong results
    int top = 0;
    int left = 0;
    int bottom = Math.max(0, leastBottom);
    int right = 0;
    boolean[] live = new boolean[taps.size()];
    for (int t = 0; t < live.length; t++) {
      Taps.Tap tap = taps.get(t);
      live[t] =
          meets(tap.dy(), op.strideH(), x.dim(1), y.dim(1))
              && meets(tap.dx(), op.strideW(), x.dim(2), y.dim(2));
      if (live[t]) {
        top = Math.min(top, tap.dy());
        left = Math.min(left, tap.dx());
        bottom = Math.max(bottom, tap.dy());
        right = Math.max(right, tap.dx());
      }
    }
    int stepH = bottom - top;
    int stepW = right - left;
    for (int t = 0; t < live.length; t++) {
      if (live[t]) {
        stepH = gcd(stepH, taps.get(t).dy() - top);
        stepW = gcd(stepW, taps.get(t).dx() - left);
      }
    }
    stepH = Math.max(1, stepH);
    stepW = Math.max(1, stepW);
    int width = (right - left) / stepW + 1;
    int[] cells = new int[live.length];
    for (int t = 0; t < cells.length; t++) {
      cells[t] =
          live[t]
              ? (taps.get(t).dy() - top) / stepH * width + (taps.get(t).dx() - left) / stepW
              : NO_CELL;
    }
    return new ConvBox(top, left, (bottom - top) / stepH + 1, width, stepH, stepW, cells);
  }

  /** Whether an offset takes any output position into 0..size-1. */
  private static boolean meets(int offset, int stride, int size, int outputs) {
    for (int i = 0; i < outputs; i++) {
      int at = i * stride + offset;
      if (at >= 0 && at < size) {
        return true;
      }
    }
    return false;
  }

  private int extentH() {
    return (height - 1) * stepH + 1;
  }

  private int extentW() {
    return (width - 1) * stepW + 1;
  }

  /** Where the kernel is larger than the image, oneDNN is handed an image padded by us. */
  Frame frame(Conv2d op, Shape x, Shape y) {
    if (extentH() <= x.dim(1) && extentW() <= x.dim(2)) {
      return null;
    }
    return new Frame(
        x,
        Shape.of(
            x.dim(0),
            (y.dim(1) - 1) * op.strideH() + extentH(),
            (y.dim(2) - 1) * op.strideW() + extentW(),
            x.dim(3)),
        top,
        left);
  }

  private static int gcd(int a, int b) {
    return b == 0 ? a : gcd(b, a % b);
  }

  /** True where the taps are the whole box, row by row: the weights are then used as they lie. */
  boolean isDense() {
    if (cells.length != height * width) {
      return false;
    }
    for (int t = 0; t < cells.length; t++) {
      if (cells[t] != t) {
        return false;
      }
    }
    return true;
  }

  ConvGeometry geometry(Conv2d op, Shape x, Shape y, Frame frame) {
    if (frame != null) {
      return new ConvGeometry(op.strideH(), op.strideW(), stepH - 1, stepW - 1, 0, 0, 0, 0);
    }
    return new ConvGeometry(
        op.strideH(),
        op.strideW(),
        stepH - 1,
        stepW - 1,
        -top,
        -left,
        (y.dim(1) - 1) * op.strideH() + top + extentH() - x.dim(1),
        (y.dim(2) - 1) * op.strideW() + left + extentW() - x.dim(2));
  }

  /** An image with its padding around it: pixel (0,0) of the frame is (top,left) of the image. */
  record Frame(Shape image, Shape framed, int top, int left) {
    interface Row {
      /** Elements of the image's row and of the frame's that lie on each other. */
      void at(long imageOffset, long framedOffset, int elements);
    }

    void forEachRow(Row row) {
      int channels = image.dim(3);
      int firstColumn = Math.max(0, left);
      int columns = Math.min(image.dim(2), left + framed.dim(2)) - firstColumn;
      for (int n = 0; n < image.dim(0); n++) {
        for (int i = Math.max(0, top); i < Math.min(image.dim(1), top + framed.dim(1)); i++) {
          long own = ((long) n * image.dim(1) + i) * image.dim(2) + firstColumn;
          long other = ((long) n * framed.dim(1) + i - top) * framed.dim(2) + firstColumn - left;
          row.at(own * channels, other * channels, columns * channels);
        }
      }
    }
  }
}
