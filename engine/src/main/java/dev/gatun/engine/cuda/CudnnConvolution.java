package dev.gatun.engine.cuda;

import static jcuda.jcudnn.JCudnn.cudnnAddTensor;
import static jcuda.jcudnn.JCudnn.cudnnConvolutionForward;
import static jcuda.jcudnn.JCudnn.cudnnCreateConvolutionDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnCreateFilterDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnCreateTensorDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnDestroyConvolutionDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnDestroyFilterDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnDestroyTensorDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnGetConvolutionForwardAlgorithm_v7;
import static jcuda.jcudnn.JCudnn.cudnnGetConvolutionForwardWorkspaceSize;
import static jcuda.jcudnn.JCudnn.cudnnSetConvolution2dDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnSetConvolutionMathType;
import static jcuda.jcudnn.JCudnn.cudnnSetFilter4dDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnSetTensor4dDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnSetTensor4dDescriptorEx;
import static jcuda.jcudnn.JCudnn.cudnnTransformTensor;
import static jcuda.jcudnn.cudnnConvolutionMode.CUDNN_CROSS_CORRELATION;
import static jcuda.jcudnn.cudnnDataType.CUDNN_DATA_FLOAT;
import static jcuda.jcudnn.cudnnMathType.CUDNN_DEFAULT_MATH;
import static jcuda.jcudnn.cudnnMathType.CUDNN_FMA_MATH;
import static jcuda.jcudnn.cudnnTensorFormat.CUDNN_TENSOR_NHWC;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.Taps.Tap;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaPointer;
import dev.gatun.ffi.CudaStream;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.stream.Stream;
import jcuda.Pointer;
import jcuda.jcudnn.cudnnConvolutionDescriptor;
import jcuda.jcudnn.cudnnConvolutionFwdAlgoPerf;
import jcuda.jcudnn.cudnnFilterDescriptor;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnTensorDescriptor;

/**
 * {@link Conv2d} forward in f32 by cuDNN, where the taps are a full rectangle that cuDNN can pad;
 * everything else goes to our own kernel.
 *
 * <p>cuDNN pads both sides alike, so it can take 3x3 squares but not causal stacks. Its filters are
 * [K,R,S,C]; ours, [T,C,K], are copied into that form before each run, since the weights may have
 * changed.
 */
final class CudnnConvolution {
  private CudnnConvolution() {}

  /** A rectangle of taps in cuDNN's terms. */
  record Geometry(int rows, int columns, int dilationH, int dilationW, int padH, int padW) {
    /** Null where cuDNN has no such convolution. */
    static Geometry of(Conv2d op, Shape x, Shape y) {
      Taps taps = op.taps();
      int[] dy = taps.list().stream().mapToInt(Tap::dy).distinct().sorted().toArray();
      int[] dx = taps.list().stream().mapToInt(Tap::dx).distinct().sorted().toArray();
      int dilationH = spacing(dy);
      int dilationW = spacing(dx);
      if (dilationH == 0 || dilationW == 0 || taps.count() != dy.length * dx.length) {
        return null;
      }
      for (int t = 0; t < taps.count(); t++) {
        if (!taps.list().get(t).equals(new Tap(dy[t / dx.length], dx[t % dx.length]))) {
          return null; // the filter's elements lie in another order
        }
      }
      Geometry g = new Geometry(dy.length, dx.length, dilationH, dilationW, -dy[0], -dx[0]);
      boolean fits =
          g.padH >= 0
              && g.padW >= 0
              && extent(x.dim(1), g.padH, g.rows, dilationH, op.strideH()) == y.dim(1)
              && extent(x.dim(2), g.padW, g.columns, dilationW, op.strideW()) == y.dim(2);
      return fits ? g : null;
    }

    /** The common distance of neighbours; 1 for a single offset, 0 if there is none. */
    private static int spacing(int[] offsets) {
      int spacing = offsets.length == 1 ? 1 : offsets[1] - offsets[0];
      for (int i = 1; i < offsets.length; i++) {
        if (offsets[i] - offsets[i - 1] != spacing) {
          return 0;
        }
      }
      return spacing;
    }

    private static int extent(int size, int pad, int taps, int dilation, int stride) {
      int room = size + 2 * pad - ((taps - 1) * dilation + 1);
      return room < 0 ? 0 : room / stride + 1;
    }
  }

  /** Null where cuDNN has no such convolution; called with the device entered. */
  static CudaLaunch prepare(
      CudaDevice device, Conv2d op, List<Tensor> inputs, List<Tensor> outputs) {
    List<TensorSpec> specs = inputs.stream().map(Tensor::spec).toList();
    if (inputs.getFirst().dtype() != DType.F32 || Conv2d.hasAddend(specs)) {
      return null;
    }
    Geometry geometry = Geometry.of(op, inputs.get(0).shape(), outputs.get(0).shape());
    if (geometry == null) {
      return null;
    }
    try {
      return new DnnLaunch(device, op, geometry, inputs, outputs.getFirst());
    } catch (NoAlgorithm e) {
      return null;
    }
  }

  /** cuDNN cannot, or not in the memory that there is. */
  private static final class NoAlgorithm extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  /** One convolution, with all that cuDNN wants to know of it. */
  private static final class DnnLaunch extends CudaLaunch {
    private static final int MAX_CHOICES = 8;
    // read at each call; nobody writes them
    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private final cudnnHandle cudnn;
    private final Deque<Runnable> holds = new ArrayDeque<>();
    private final cudnnTensorDescriptor xShape;
    private final cudnnTensorDescriptor yShape;
    private final cudnnTensorDescriptor biasShape;
    private final cudnnTensorDescriptor tapsShape;
    private final cudnnTensorDescriptor filterAsTensor;
    private final cudnnFilterDescriptor filterShape;
    private final cudnnConvolutionDescriptor convolution;
    private final Pointer x;
    private final Pointer taps;
    private final Pointer bias;
    private final Pointer y;
    private final Pointer filter;
    private final Pointer workspace;
    private final long workspaceBytes;
    private final int algorithm;

    DnnLaunch(CudaDevice device, Conv2d op, Geometry g, List<Tensor> inputs, Tensor output) {
      super(device, describe(op, inputs) + " by cuDNN", buffersOf(inputs, List.of(output)));
      cudnn = device.cudnn().handle();
      try {
        Shape in = inputs.get(0).shape();
        int channels = in.dim(3);
        int filters = output.shape().dim(3);
        xShape = nhwc(in);
        yShape = nhwc(output.shape());
        // both as N,C,H,W = K,C,R,S: the same filter in our order and in cuDNN's
        int rs = g.rows * g.columns;
        tapsShape =
            strided(
                new int[] {filters, channels, g.rows, g.columns},
                new int[] {1, filters, g.columns * channels * filters, channels * filters});
        filterAsTensor =
            strided(
                new int[] {filters, channels, g.rows, g.columns},
                new int[] {rs * channels, 1, g.columns * channels, channels});
        filterShape = filter(filters, channels, g.rows, g.columns);
        convolution = convolution(g, op);
        x = new CudaPointer(inputs.get(0).address());
        taps = new CudaPointer(inputs.get(1).address());
        y = new CudaPointer(output.address());
        if (inputs.size() == 3) {
          bias = new CudaPointer(inputs.get(2).address());
          biasShape = nhwc(Shape.of(1, 1, 1, filters));
        } else {
          bias = null;
          biasShape = null;
        }
        filter = memory(device, inputs.get(1).spec().sizeBytes());
        Choice choice = choose(device);
        algorithm = choice.algorithm;
        workspace = choice.workspace;
        workspaceBytes = choice.bytes;
        arrangeFilter();
      } catch (RuntimeException | Error e) {
        release(true);
        throw e;
      }
    }

    private Pointer memory(CudaDevice device, long sizeBytes) {
      Buffer buffer = device.allocate(sizeBytes);
      holds.push(buffer::close);
      return new CudaPointer(buffer.address());
    }

    private cudnnTensorDescriptor tensor() {
      cudnnTensorDescriptor d = new cudnnTensorDescriptor();
      CudaException.checkDnn("cudnnCreateTensorDescriptor", () -> cudnnCreateTensorDescriptor(d));
      holds.push(() ->
          CudaException.checkDnn(
              "cudnnDestroyTensorDescriptor", () -> cudnnDestroyTensorDescriptor(d)));
      return d;
    }

    private cudnnTensorDescriptor nhwc(Shape s) {
      cudnnTensorDescriptor d = tensor();
      CudaException.checkDnn(
          "cudnnSetTensor4dDescriptor",
          () ->
              cudnnSetTensor4dDescriptor(
                  d, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, s.dim(0), s.dim(3), s.dim(1), s.dim(2)));
      return d;
    }

    private cudnnTensorDescriptor strided(int[] dims, int[] strides) {
      cudnnTensorDescriptor d = tensor();
      CudaException.checkDnn(
          "cudnnSetTensor4dDescriptorEx",
          () ->
              cudnnSetTensor4dDescriptorEx(
                  d,
                  CUDNN_DATA_FLOAT,
                  dims[0],
                  dims[1],
                  dims[2],
                  dims[3],
                  strides[0],
                  strides[1],
                  strides[2],
                  strides[3]));
      return d;
    }

    private cudnnFilterDescriptor filter(int filters, int channels, int rows, int columns) {
      cudnnFilterDescriptor d = new cudnnFilterDescriptor();
      CudaException.checkDnn("cudnnCreateFilterDescriptor", () -> cudnnCreateFilterDescriptor(d));
      holds.push(() ->
          CudaException.checkDnn(
              "cudnnDestroyFilterDescriptor", () -> cudnnDestroyFilterDescriptor(d)));
      CudaException.checkDnn(
          "cudnnSetFilter4dDescriptor",
          () ->
              cudnnSetFilter4dDescriptor(
                  d, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, filters, channels, rows, columns));
      return d;
    }

    private cudnnConvolutionDescriptor convolution(Geometry g, Conv2d op) {
      cudnnConvolutionDescriptor d = new cudnnConvolutionDescriptor();
      CudaException.checkDnn(
          "cudnnCreateConvolutionDescriptor", () -> cudnnCreateConvolutionDescriptor(d));
      holds.push(() ->
          CudaException.checkDnn(
              "cudnnDestroyConvolutionDescriptor", () -> cudnnDestroyConvolutionDescriptor(d)));
      CudaException.checkDnn(
          "cudnnSetConvolution2dDescriptor",
          () ->
              cudnnSetConvolution2dDescriptor(
                  d,
                  g.padH,
                  g.padW,
                  op.strideH(),
                  op.strideW(),
                  g.dilationH,
                  g.dilationW,
                  CUDNN_CROSS_CORRELATION,
                  CUDNN_DATA_FLOAT));
      // f32 is f32: the default would let tensor cores round the products' factors to tf32
      CudaException.checkDnn(
          "cudnnSetConvolutionMathType", () -> cudnnSetConvolutionMathType(d, CUDNN_FMA_MATH));
      return d;
    }

    private record Choice(int algorithm, Pointer workspace, long bytes) {}

    /** The best of those whose workspace fits. */
    private Choice choose(CudaDevice device) {
      int[] count = new int[1];
      cudnnConvolutionFwdAlgoPerf[] choices =
          Stream.generate(cudnnConvolutionFwdAlgoPerf::new)
              .limit(MAX_CHOICES)
              .toArray(cudnnConvolutionFwdAlgoPerf[]::new);
      CudaException.checkDnn(
          "cudnnGetConvolutionForwardAlgorithm_v7",
          () ->
              cudnnGetConvolutionForwardAlgorithm_v7(
                  cudnn, xShape, filterShape, convolution, yShape, choices.length, count, choices));
      for (int i = 0; i < count[0]; i++) {
        // best first, by cuDNN's own estimate; "default" is what plain f32 is called here, too
        if (choices[i].status == 0
            && (choices[i].mathType == CUDNN_FMA_MATH
                || choices[i].mathType == CUDNN_DEFAULT_MATH)) {
          int candidate = choices[i].algo;
          long[] bytes = new long[1];
          CudaException.checkDnn(
              "cudnnGetConvolutionForwardWorkspaceSize",
              () ->
                  cudnnGetConvolutionForwardWorkspaceSize(
                      cudnn, xShape, filterShape, convolution, yShape, candidate, bytes));
          try {
            Pointer workspace = bytes[0] == 0 ? new Pointer() : memory(device, bytes[0]);
            return new Choice(candidate, workspace, bytes[0]);
          } catch (OutOfMemoryException e) {
            // the next one may do with less
          }
        }
      }
      throw new NoAlgorithm();
    }

    /** [T,C,K] to [K,R,S,C]. */
    private void arrangeFilter() {
      CudaException.checkDnn(
          "cudnnTransformTensor",
          () -> cudnnTransformTensor(cudnn, ONE, tapsShape, taps, ZERO, filterAsTensor, filter));
    }

    @Override
    void enqueue(CudaStream stream) {
      arrangeFilter();
      CudaException.checkDnn(
          "cudnnConvolutionForward",
          () ->
              cudnnConvolutionForward(
                  cudnn,
                  ONE,
                  xShape,
                  x,
                  filterShape,
                  filter,
                  convolution,
                  algorithm,
                  workspace,
                  workspaceBytes,
                  ZERO,
                  yShape,
                  y));
      if (bias != null) {
        CudaException.checkDnn(
            "cudnnAddTensor", () -> cudnnAddTensor(cudnn, ONE, biasShape, bias, ONE, yShape, y));
      }
    }

    /** Descriptors are host memory: they are given back even where the context is lost. */
    @Override
    void release(boolean usable) {
      RuntimeException first = null;
      while (!holds.isEmpty()) {
        try {
          holds.pop().run();
        } catch (RuntimeException e) {
          first = first == null ? e : first;
        }
      }
      if (first != null) {
        throw first;
      }
    }
  }
}
