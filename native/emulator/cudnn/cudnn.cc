// cudnn.cc - a libcudnn.so.9 that answers a plain f32 forward convolution, cudnnAddTensor
// and cudnnTransformTensor.
//
// The work goes into the emulated stream: it is ordered, captured and replayed as a real one, and a
// bad access in it is a fault of the context. Every other symbol is a stub that returns
// CUDNN_STATUS_NOT_SUPPORTED. Sums are in double: this is a reference, not a peer in speed.
#include <cstddef>
#include <cstdint>
#include <cstring>

#define CUDNN_API extern "C" __attribute__((visibility("default")))

extern "C" {
int gatunEmuEnqueueHostOp(void* stream, const char* name, void (*fn)(void*), const void* argument,
                          size_t bytes);
int gatunEmuIsDevice(const void* p, size_t bytes);
}

namespace {

// cudnnStatus_t of cuDNN 9
enum Status {
  kSuccess = 0,
  kNotInitialized = 1001,
  kBadParam = 2000,
  kNotSupported = 3000,
  kExecutionFailed = 5000,
};
constexpr size_t kVersion = 90100;
enum DataType { kFloat = 0, kDouble = 1, kHalf = 2, kInt32 = 4, kBfloat16 = 9 };
enum Format { kNchw = 0, kNhwc = 1 };

struct Handle {
  uint32_t magic = 0xcd000001;
  void* stream = nullptr;
};

/** Always four dimensions: N, C, H, W. */
struct Tensor {
  uint32_t magic = 0xcd000002;
  bool set = false;
  int type = kFloat;
  int rank = 4;
  int dims[4] = {1, 1, 1, 1};
  int64_t strides[4] = {1, 1, 1, 1};
};

struct Filter {
  uint32_t magic = 0xcd000003;
  bool set = false;
  int type = kFloat;
  int format = kNchw;
  int dims[4] = {1, 1, 1, 1};  // K, C, R, S
};

struct Convolution {
  uint32_t magic = 0xcd000004;
  bool set = false;
  int pad[2] = {0, 0}, stride[2] = {1, 1}, dilation[2] = {1, 1};
  int mode = 1;  // 0 convolution, 1 cross-correlation
  int compute = kFloat;
  int groups = 1;
  int math = 0, reorder = 0;
};

template <class T>
bool valid(const T* p) {
  return p != nullptr && p->magic == T().magic;
}

size_t elementBytes(int type) {
  return type == kDouble ? 8 : type == kHalf || type == kBfloat16 ? 2 : type == kFloat || type == kInt32 ? 4 : 1;
}

void packed(const int* dims, int format, int64_t* strides) {
  int64_t c = dims[1], h = dims[2], w = dims[3];
  if (format == kNhwc) {
    strides[0] = h * w * c, strides[1] = 1, strides[2] = w * c, strides[3] = c;
  } else {
    strides[0] = c * h * w, strides[1] = h * w, strides[2] = w, strides[3] = 1;
  }
}

size_t span(const Tensor& t) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (t.dims[i] - 1) * t.strides[i];
  return size_t(last + 1) * elementBytes(t.type);
}

bool positive(const int* dims, int n) {
  for (int i = 0; i < n; ++i) {
    if (dims[i] <= 0) return false;
  }
  return true;
}

int setTensor(Tensor* t, int type, const int* dims, const int64_t* strides) {
  if (!valid(t) || !positive(dims, 4)) return kBadParam;
  t->type = type;
  for (int i = 0; i < 4; ++i) t->dims[i] = dims[i], t->strides[i] = strides[i];
  t->set = true;
  return kSuccess;
}

int outputDims(const Convolution* conv, const Tensor* x, const Filter* w, int* out) {
  if (!valid(conv) || !valid(x) || !valid(w) || !conv->set || !x->set || !w->set) return kBadParam;
  if (x->dims[1] != w->dims[1] * conv->groups || w->dims[0] % conv->groups != 0) return kBadParam;
  out[0] = x->dims[0];
  out[1] = w->dims[0];
  for (int i = 0; i < 2; ++i) {
    int reach = conv->dilation[i] * (w->dims[2 + i] - 1) + 1;
    int room = x->dims[2 + i] + 2 * conv->pad[i] - reach;
    if (room < 0) return kBadParam;
    out[2 + i] = room / conv->stride[i] + 1;
  }
  return kSuccess;
}

double scalar(const void* p, int type) {
  // Scalars are float, but for double tensors.
  if (type == kDouble) {
    double v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  float v;
  memcpy(&v, p, sizeof v);
  return v;
}

struct ConvolutionCall {
  Tensor x, y;
  Filter w;
  Convolution conv;
  double alpha, beta;
  const void *xp, *wp;
  void* yp;
};

template <class T>
void convolve(const ConvolutionCall& a) {
  auto* x = static_cast<const T*>(a.xp);
  auto* w = static_cast<const T*>(a.wp);
  auto* y = static_cast<T*>(a.yp);
  int64_t ws[4];
  packed(a.w.dims, a.w.format, ws);
  const int kernels = a.w.dims[0], channels = a.w.dims[1], R = a.w.dims[2], S = a.w.dims[3];
  const int perGroup = kernels / a.conv.groups;
  for (int n = 0; n < a.y.dims[0]; ++n) {
    for (int oh = 0; oh < a.y.dims[2]; ++oh) {
      for (int ow = 0; ow < a.y.dims[3]; ++ow) {
        for (int k = 0; k < kernels; ++k) {
          double sum = 0;
          for (int r = 0; r < R; ++r) {
            int h = oh * a.conv.stride[0] - a.conv.pad[0] + r * a.conv.dilation[0];
            if (h < 0 || h >= a.x.dims[2]) continue;
            for (int s = 0; s < S; ++s) {
              int v = ow * a.conv.stride[1] - a.conv.pad[1] + s * a.conv.dilation[1];
              if (v < 0 || v >= a.x.dims[3]) continue;
              int fr = a.conv.mode == 1 ? r : R - 1 - r;
              int fs = a.conv.mode == 1 ? s : S - 1 - s;
              const T* xi = x + n * a.x.strides[0] + h * a.x.strides[2] + v * a.x.strides[3] +
                            int64_t(k / perGroup) * channels * a.x.strides[1];
              const T* wi = w + k * ws[0] + fr * ws[2] + fs * ws[3];
              for (int c = 0; c < channels; ++c) {
                sum += double(xi[c * a.x.strides[1]]) * double(wi[c * ws[1]]);
              }
            }
          }
          T* out = y + n * a.y.strides[0] + k * a.y.strides[1] + oh * a.y.strides[2] +
                   ow * a.y.strides[3];
          // With beta 0 the old value is not read: it may be anything.
          *out = T(a.alpha * sum + (a.beta == 0 ? 0 : a.beta * double(*out)));
        }
      }
    }
  }
}

void runConvolution(void* argument) {
  auto& call = *static_cast<ConvolutionCall*>(argument);
  if (call.x.type == kDouble) {
    convolve<double>(call);
  } else {
    convolve<float>(call);
  }
}

struct AddCall {
  Tensor a, c;
  double alpha, beta;
  const void* ap;
  void* cp;
};

template <class T>
void add(const AddCall& call) {
  auto* a = static_cast<const T*>(call.ap);
  auto* c = static_cast<T*>(call.cp);
  int i[4];
  for (i[0] = 0; i[0] < call.c.dims[0]; ++i[0]) {
    for (i[1] = 0; i[1] < call.c.dims[1]; ++i[1]) {
      for (i[2] = 0; i[2] < call.c.dims[2]; ++i[2]) {
        for (i[3] = 0; i[3] < call.c.dims[3]; ++i[3]) {
          int64_t from = 0, to = 0;
          for (int d = 0; d < 4; ++d) {
            from += call.a.dims[d] == 1 ? 0 : i[d] * call.a.strides[d];
            to += i[d] * call.c.strides[d];
          }
          c[to] = T(call.alpha * double(a[from]) + (call.beta == 0 ? 0 : call.beta * double(c[to])));
        }
      }
    }
  }
}

void runAdd(void* argument) {
  auto& call = *static_cast<AddCall*>(argument);
  if (call.c.type == kDouble) {
    add<double>(call);
  } else {
    add<float>(call);
  }
}

int statusOf(int cuResult) {
  return cuResult == 0 ? kSuccess : cuResult == 201 || cuResult == 3 ? kNotInitialized : kExecutionFailed;
}

// cudnnConvolutionFwdAlgoPerf_t
struct AlgorithmPerf {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math;
  int reserved[3];
};

int algorithms(const Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv,
               const Tensor* y, int requested, int* returned, AlgorithmPerf* perf) {
  int dims[4];
  if (!valid(handle) || !valid(y) || requested < 1 || returned == nullptr || perf == nullptr) {
    return kBadParam;
  }
  if (int e = outputDims(conv, x, w, dims)) return e;
  // IMPLICIT_GEMM; it needs no workspace.
  perf[0] = {0, 0, -1.0f, 0, 1, conv->math, {0, 0, 0}};
  *returned = 1;
  return kSuccess;
}

}  // namespace

/* ---- the library, handles ---- */

CUDNN_API size_t cudnnGetVersion() { return kVersion; }
CUDNN_API size_t cudnnGetMaxDeviceVersion() { return 900; }
CUDNN_API size_t cudnnGetCudartVersion() { return 13000; }

CUDNN_API int cudnnGetProperty(int type, int* value) {
  // Major, minor, patch.
  if (type < 0 || type > 2) return kBadParam;
  const int parts[] = {kVersion / 10000, kVersion / 100 % 100, kVersion % 100};
  *value = parts[type];
  return kSuccess;
}

CUDNN_API const char* cudnnGetErrorString(int status) {
  switch (status) {
    case kSuccess: return "CUDNN_STATUS_SUCCESS";
    case kNotInitialized: return "CUDNN_STATUS_NOT_INITIALIZED";
    case kBadParam: return "CUDNN_STATUS_BAD_PARAM";
    case kNotSupported: return "CUDNN_STATUS_NOT_SUPPORTED";
    case kExecutionFailed: return "CUDNN_STATUS_EXECUTION_FAILED";
    default: return "CUDNN_UNKNOWN_STATUS";
  }
}

CUDNN_API int cudnnCreate(Handle** handle) {
  if (handle == nullptr) return kBadParam;
  *handle = new Handle();
  return kSuccess;
}
CUDNN_API int cudnnDestroy(Handle* handle) {
  if (!valid(handle)) return kBadParam;
  handle->magic = 0;
  delete handle;
  return kSuccess;
}
CUDNN_API int cudnnSetStream(Handle* handle, void* stream) {
  if (!valid(handle)) return kBadParam;
  handle->stream = stream;
  return kSuccess;
}
CUDNN_API int cudnnGetStream(Handle* handle, void** stream) {
  if (!valid(handle) || stream == nullptr) return kBadParam;
  *stream = handle->stream;
  return kSuccess;
}

/* ---- descriptors ---- */

#define GATUN_DESCRIPTOR(Name, T)                      \
  CUDNN_API int cudnnCreate##Name##Descriptor(T** d) { \
    if (d == nullptr) return kBadParam;                \
    *d = new T();                                      \
    return kSuccess;                                   \
  }                                                    \
  CUDNN_API int cudnnDestroy##Name##Descriptor(T* d) { \
    if (d == nullptr) return kSuccess;                 \
    if (!valid(d)) return kBadParam;                   \
    d->magic = 0;                                      \
    delete d;                                          \
    return kSuccess;                                   \
  }
GATUN_DESCRIPTOR(Tensor, Tensor)
GATUN_DESCRIPTOR(Filter, Filter)
GATUN_DESCRIPTOR(Convolution, Convolution)

CUDNN_API int cudnnSetTensor4dDescriptor(Tensor* t, int format, int type, int n, int c, int h, int w) {
  if (format != kNchw && format != kNhwc) return kNotSupported;
  const int dims[] = {n, c, h, w};
  int64_t strides[4];
  packed(dims, format, strides);
  return setTensor(t, type, dims, strides);
}
CUDNN_API int cudnnSetTensor4dDescriptorEx(Tensor* t, int type, int n, int c, int h, int w, int ns,
                                           int cs, int hs, int ws) {
  const int dims[] = {n, c, h, w};
  const int64_t strides[] = {ns, cs, hs, ws};
  return setTensor(t, type, dims, strides);
}
CUDNN_API int cudnnGetTensor4dDescriptor(const Tensor* t, int* type, int* n, int* c, int* h, int* w,
                                         int* ns, int* cs, int* hs, int* ws) {
  if (!valid(t)) return kBadParam;
  *type = t->type;
  *n = t->dims[0], *c = t->dims[1], *h = t->dims[2], *w = t->dims[3];
  *ns = int(t->strides[0]), *cs = int(t->strides[1]), *hs = int(t->strides[2]), *ws = int(t->strides[3]);
  return kSuccess;
}
CUDNN_API int cudnnSetTensorNdDescriptor(Tensor* t, int type, int rank, const int* dims,
                                         const int* strides) {
  if (rank < 1 || dims == nullptr || strides == nullptr) return kBadParam;
  if (rank > 4) return kNotSupported;
  int d[4] = {1, 1, 1, 1};
  int64_t s[4] = {1, 1, 1, 1};
  for (int i = 0; i < rank; ++i) d[i] = dims[i], s[i] = strides[i];
  if (int e = setTensor(t, type, d, s)) return e;
  t->rank = rank;
  return kSuccess;
}
CUDNN_API int cudnnSetTensorNdDescriptorEx(Tensor* t, int format, int type, int rank,
                                           const int* dims) {
  if (rank < 1 || dims == nullptr) return kBadParam;
  if (rank > 4) return kNotSupported;
  int d[4] = {1, 1, 1, 1};
  for (int i = 0; i < rank; ++i) d[i] = dims[i];
  return cudnnSetTensor4dDescriptor(t, format, type, d[0], d[1], d[2], d[3]);
}
CUDNN_API int cudnnGetTensorNdDescriptor(const Tensor* t, int requested, int* type, int* rank,
                                         int* dims, int* strides) {
  if (!valid(t)) return kBadParam;
  *type = t->type;
  *rank = t->rank;
  for (int i = 0; i < requested && i < t->rank; ++i) dims[i] = t->dims[i], strides[i] = int(t->strides[i]);
  return kSuccess;
}
CUDNN_API int cudnnGetTensorSizeInBytes(const Tensor* t, size_t* bytes) {
  if (!valid(t) || !t->set) return kBadParam;
  *bytes = span(*t);
  return kSuccess;
}

CUDNN_API int cudnnSetFilter4dDescriptor(Filter* f, int type, int format, int k, int c, int h, int w) {
  const int dims[] = {k, c, h, w};
  if (!valid(f) || !positive(dims, 4)) return kBadParam;
  if (format != kNchw && format != kNhwc) return kNotSupported;
  f->type = type;
  f->format = format;
  memcpy(f->dims, dims, sizeof dims);
  f->set = true;
  return kSuccess;
}
CUDNN_API int cudnnGetFilter4dDescriptor(const Filter* f, int* type, int* format, int* k, int* c,
                                         int* h, int* w) {
  if (!valid(f)) return kBadParam;
  *type = f->type, *format = f->format;
  *k = f->dims[0], *c = f->dims[1], *h = f->dims[2], *w = f->dims[3];
  return kSuccess;
}
CUDNN_API int cudnnSetFilterNdDescriptor(Filter* f, int type, int format, int rank, const int* dims) {
  if (dims == nullptr || rank < 1) return kBadParam;
  if (rank != 4) return kNotSupported;
  return cudnnSetFilter4dDescriptor(f, type, format, dims[0], dims[1], dims[2], dims[3]);
}
CUDNN_API int cudnnGetFilterNdDescriptor(const Filter* f, int requested, int* type, int* format,
                                         int* rank, int* dims) {
  if (!valid(f)) return kBadParam;
  *type = f->type, *format = f->format, *rank = 4;
  for (int i = 0; i < requested && i < 4; ++i) dims[i] = f->dims[i];
  return kSuccess;
}
CUDNN_API int cudnnGetFilterSizeInBytes(const Filter* f, size_t* bytes) {
  if (!valid(f) || !f->set) return kBadParam;
  *bytes = elementBytes(f->type);
  for (int d : f->dims) *bytes *= size_t(d);
  return kSuccess;
}

CUDNN_API int cudnnSetConvolution2dDescriptor(Convolution* c, int padH, int padW, int strideH,
                                              int strideW, int dilationH, int dilationW, int mode,
                                              int compute) {
  if (!valid(c) || padH < 0 || padW < 0 || strideH < 1 || strideW < 1 || dilationH < 1 ||
      dilationW < 1 || mode < 0 || mode > 1) {
    return kBadParam;
  }
  c->pad[0] = padH, c->pad[1] = padW;
  c->stride[0] = strideH, c->stride[1] = strideW;
  c->dilation[0] = dilationH, c->dilation[1] = dilationW;
  c->mode = mode;
  c->compute = compute;
  c->set = true;
  return kSuccess;
}
CUDNN_API int cudnnGetConvolution2dDescriptor(const Convolution* c, int* padH, int* padW, int* strideH,
                                              int* strideW, int* dilationH, int* dilationW, int* mode,
                                              int* compute) {
  if (!valid(c)) return kBadParam;
  *padH = c->pad[0], *padW = c->pad[1], *strideH = c->stride[0], *strideW = c->stride[1];
  *dilationH = c->dilation[0], *dilationW = c->dilation[1], *mode = c->mode, *compute = c->compute;
  return kSuccess;
}
CUDNN_API int cudnnSetConvolutionNdDescriptor(Convolution* c, int n, const int* pad, const int* stride,
                                              const int* dilation, int mode, int compute) {
  if (n != 2) return kNotSupported;
  return cudnnSetConvolution2dDescriptor(c, pad[0], pad[1], stride[0], stride[1], dilation[0],
                                         dilation[1], mode, compute);
}
CUDNN_API int cudnnGetConvolutionNdDescriptor(const Convolution* c, int requested, int* n, int* pad,
                                              int* stride, int* dilation, int* mode, int* compute) {
  if (!valid(c)) return kBadParam;
  *n = 2, *mode = c->mode, *compute = c->compute;
  for (int i = 0; i < requested && i < 2; ++i) {
    pad[i] = c->pad[i], stride[i] = c->stride[i], dilation[i] = c->dilation[i];
  }
  return kSuccess;
}

#define GATUN_CONVOLUTION_FIELD(Name, field, lowest)               \
  CUDNN_API int cudnnSetConvolution##Name(Convolution* c, int v) { \
    if (!valid(c) || v < lowest) return kBadParam;                 \
    c->field = v;                                                  \
    return kSuccess;                                               \
  }                                                                \
  CUDNN_API int cudnnGetConvolution##Name(const Convolution* c, int* v) { \
    if (!valid(c) || v == nullptr) return kBadParam;               \
    *v = c->field;                                                 \
    return kSuccess;                                               \
  }
GATUN_CONVOLUTION_FIELD(GroupCount, groups, 1)
GATUN_CONVOLUTION_FIELD(MathType, math, 0)
GATUN_CONVOLUTION_FIELD(ReorderType, reorder, 0)

/* ---- convolution ---- */

CUDNN_API int cudnnGetConvolution2dForwardOutputDim(const Convolution* conv, const Tensor* x,
                                                    const Filter* w, int* n, int* c, int* oh, int* ow) {
  int dims[4];
  if (int e = outputDims(conv, x, w, dims)) return e;
  *n = dims[0], *c = dims[1], *oh = dims[2], *ow = dims[3];
  return kSuccess;
}
CUDNN_API int cudnnGetConvolutionNdForwardOutputDim(const Convolution* conv, const Tensor* x,
                                                    const Filter* w, int rank, int* out) {
  return rank == 4 ? outputDims(conv, x, w, out) : int(kBadParam);
}

CUDNN_API int cudnnGetConvolutionForwardAlgorithmMaxCount(Handle* handle, int* count) {
  if (!valid(handle)) return kBadParam;
  *count = 1;
  return kSuccess;
}
CUDNN_API int cudnnGetConvolutionForwardAlgorithm_v7(Handle* handle, const Tensor* x, const Filter* w,
                                                     const Convolution* conv, const Tensor* y,
                                                     int requested, int* returned,
                                                     AlgorithmPerf* perf) {
  return algorithms(handle, x, w, conv, y, requested, returned, perf);
}
CUDNN_API int cudnnFindConvolutionForwardAlgorithm(Handle* handle, const Tensor* x, const Filter* w,
                                                   const Convolution* conv, const Tensor* y,
                                                   int requested, int* returned,
                                                   AlgorithmPerf* perf) {
  return algorithms(handle, x, w, conv, y, requested, returned, perf);
}
CUDNN_API int cudnnGetConvolutionForwardWorkspaceSize(Handle* handle, const Tensor* x, const Filter* w,
                                                      const Convolution* conv, const Tensor* y, int,
                                                      size_t* bytes) {
  int dims[4];
  if (!valid(handle) || !valid(y) || bytes == nullptr) return kBadParam;
  *bytes = 0;
  return outputDims(conv, x, w, dims);
}

CUDNN_API int cudnnConvolutionForward(Handle* handle, const void* alpha, const Tensor* x,
                                      const void* xp, const Filter* w, const void* wp,
                                      const Convolution* conv, int algorithm, void* workspace,
                                      size_t workspaceBytes, const void* beta, const Tensor* y,
                                      void* yp) {
  if (!valid(handle) || !valid(y) || !y->set || alpha == nullptr || beta == nullptr) return kBadParam;
  int dims[4];
  if (int e = outputDims(conv, x, w, dims)) return e;
  if (memcmp(dims, y->dims, sizeof dims) != 0 || algorithm < 0 || algorithm > 7) return kBadParam;
  if (x->type != y->type || x->type != w->type || (x->type != kFloat && x->type != kDouble)) {
    return kNotSupported;
  }
  size_t filterBytes = 0;
  cudnnGetFilterSizeInBytes(w, &filterBytes);
  if (!gatunEmuIsDevice(xp, span(*x)) || !gatunEmuIsDevice(wp, filterBytes) ||
      !gatunEmuIsDevice(yp, span(*y)) ||
      (workspaceBytes > 0 && !gatunEmuIsDevice(workspace, workspaceBytes))) {
    return kBadParam;
  }
  ConvolutionCall call{*x, *y, *w, *conv, scalar(alpha, x->type), scalar(beta, x->type), xp, wp, yp};
  return statusOf(gatunEmuEnqueueHostOp(handle->stream, "cudnnConvolutionForward", runConvolution,
                                        &call, sizeof call));
}

CUDNN_API int cudnnAddTensor(Handle* handle, const void* alpha, const Tensor* a, const void* ap,
                             const void* beta, const Tensor* c, void* cp) {
  if (!valid(handle) || !valid(a) || !valid(c) || !a->set || !c->set || alpha == nullptr ||
      beta == nullptr) {
    return kBadParam;
  }
  for (int i = 0; i < 4; ++i) {
    if (a->dims[i] != 1 && a->dims[i] != c->dims[i]) return kBadParam;
  }
  if (a->type != c->type || (a->type != kFloat && a->type != kDouble)) return kNotSupported;
  if (!gatunEmuIsDevice(ap, span(*a)) || !gatunEmuIsDevice(cp, span(*c))) return kBadParam;
  AddCall call{*a, *c, scalar(alpha, c->type), scalar(beta, c->type), ap, cp};
  return statusOf(
      gatunEmuEnqueueHostOp(handle->stream, "cudnnAddTensor", runAdd, &call, sizeof call));
}

/** y = alpha x + beta y, between layouts: an addition whose operands have the same extents. */
CUDNN_API int cudnnTransformTensor(Handle* handle, const void* alpha, const Tensor* x, const void* xp,
                                   const void* beta, const Tensor* y, void* yp) {
  if (!valid(x) || !valid(y) || std::memcmp(x->dims, y->dims, sizeof x->dims) != 0) {
    return kBadParam;
  }
  return cudnnAddTensor(handle, alpha, x, xp, beta, y, yp);
}
