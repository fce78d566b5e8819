package dev.gatun.engine.cuda;

import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Which kernels run which op. A new op is one line here. */
final class CudaOps {
  /** Chooses the kernels of one kind of op. */
  private interface Form<T extends Op> {
    void add(Work work, T op, List<Tensor> in, List<Tensor> out);
  }

  /** What a launch shape cannot say: blocks along y and z. */
  private static final int MOST_BLOCKS = 65_535;

  private static final Map<Class<? extends Op>, Form<Op>> FORMS = new HashMap<>();

  static {
    register(Conv2d.class, CudaConvolution::forward);
    register(Conv2dUnit.class, CudaConvolution::unit);
    register(Conv2dBackwardData.class, CudaConvolution::backwardData);
    register(Conv2dBackwardWeights.class, CudaConvolution::backwardWeights);
    register(Gate.class, CudaElementwise::gate);
    register(GateBackward.class, CudaElementwise::gateBackward);
    register(Relu.class, CudaElementwise::relu);
    register(ReluBackward.class, CudaElementwise::reluBackward);
    register(Elu.class, CudaElementwise::elu);
    register(EluBackward.class, CudaElementwise::eluBackward);
    register(ConcatElu.class, CudaElementwise::concatElu);
    register(ConcatEluBackward.class, CudaElementwise::concatEluBackward);
    register(Add.class, CudaElementwise::add);
    register(Fill.class, CudaElementwise::fill);
    register(Dropout.class, CudaElementwise::dropout);
    register(NormalizePixels.class, CudaElementwise::normalizePixels);
    register(ScalePixels.class, CudaElementwise::scalePixels);
    register(Cast.class, CudaElementwise::cast);
    register(Reshape.class, CudaElementwise::reshape);
    register(Shift.class, CudaElementwise::shift);
    register(Resample.class, CudaElementwise::resample);
    register(Concat.class, CudaElementwise::concat);
    register(Split.class, CudaElementwise::split);
    register(AddBias.class, CudaElementwise::addBias);
    register(AddBiasBackward.class, CudaReductions::addBiasBackward);
    register(SumPixels.class, CudaReductions::sumPixels);
    register(SquaredNorm.class, CudaReductions::squaredNorm);
    register(Adam.class, CudaReductions::adam);
    register(SoftmaxCrossEntropy.class, CudaLosses::crossEntropy);
    register(SoftmaxCrossEntropyBackward.class, CudaLosses::crossEntropyBackward);
    register(LogisticMixture.class, CudaLosses::mixture);
    register(LogisticMixtureBackward.class, CudaLosses::mixtureBackward);
    register(ImageLikelihood.class, CudaLikelihoods::image);
    register(ImageLikelihoodBackward.class, CudaLikelihoods::imageBackward);
    register(ImportanceBound.class, CudaLikelihoods::importance);
    register(ImportanceBoundBackward.class, CudaLikelihoods::importanceBackward);
    register(IafStep.class, CudaLikelihoods::iafStep);
    register(IafStepBackward.class, CudaLikelihoods::iafStepBackward);
    register(WeightNorm.class, CudaNorms::weightNorm);
    register(WeightNormBackward.class, CudaNorms::weightNormBackward);
    register(MaskChannels.class, CudaNorms::maskChannels);
    register(GroupNorm.class, CudaNorms::groupNorm);
    register(GroupNormBackward.class, CudaNorms::groupNormBackward);
    register(Silu.class, CudaElementwise::silu);
    register(SiluBackward.class, CudaElementwise::siluBackward);
    register(DiffusionTimes.class, CudaDiffusion::times);
    register(Diffuse.class, CudaDiffusion::diffuse);
    register(SquaredError.class, CudaDiffusion::squaredError);
    register(SquaredErrorBackward.class, CudaDiffusion::squaredErrorBackward);
    register(SinusoidalEmbedding.class, CudaDiffusion::sinusoidalEmbedding);
    register(DenoiseStep.class, CudaDiffusion::denoiseStep);
    register(VariationalBound.class, CudaDiffusion::variationalBound);
    register(VariationalBoundBackward.class, CudaDiffusion::variationalBoundBackward);
    register(FoldUpsampling.class, CudaDiffusion::foldUpsampling);
    register(FoldUpsamplingBackward.class, CudaDiffusion::foldUpsamplingBackward);
    register(GaussianSample.class, CudaGaussian::sample);
    register(GaussianSampleBackward.class, CudaGaussian::sampleBackward);
    register(GaussianKl.class, CudaGaussian::kl);
    register(GaussianKlBackward.class, CudaGaussian::klBackward);
    register(KlObjective.class, CudaGaussian::objective);
    register(KlObjectiveBackward.class, CudaGaussian::objectiveBackward);
    register(GaussianMixture.class, CudaGaussian::mixture);
    register(GaussianMixtureBackward.class, CudaGaussian::mixtureBackward);
    register(VectorQuantize.class, CudaCodes::vectorQuantize);
    register(CodeVectors.class, CudaCodes::codeVectors);
    register(CodebookSums.class, CudaCodes::codebookSums);
    register(MovingAverage.class, CudaCodes::movingAverage);
    register(Codebook.class, CudaCodes::codebook);
    register(GumbelSoftmax.class, CudaCodes::gumbelSoftmax);
    register(GumbelSoftmaxBackward.class, CudaCodes::gumbelSoftmaxBackward);
    register(CategoricalSample.class, CudaCodes::categoricalSample);
    register(CategoricalKl.class, CudaCodes::categoricalKl);
    register(CategoricalKlBackward.class, CudaCodes::categoricalKlBackward);
    register(CategoricalLogProbability.class, CudaCodes::categoricalLogProbability);
    register(ReverseChannels.class, CudaElementwise::reverseChannels);
    register(Attention.class, CudaAttention::forward);
    register(AttentionBackward.class, CudaAttention::backward);
  }

  private CudaOps() {}

  private static <T extends Op> void register(Class<T> type, Form<T> form) {
    FORMS.put(type, (work, op, in, out) -> form.add(work, type.cast(op), in, out));
  }

  /** Null if these inputs can be run, else in a few words why not. */
  static String refuses(Op op, List<TensorSpec> inputs) {
    if (!FORMS.containsKey(op.getClass())) {
      return "no kernel yet";
    }
    if (inputs.stream().anyMatch(spec -> spec.shape().elements() == 0)) {
      return "no kernel takes an empty tensor";
    }
    if (op instanceof Conv2dUnit unit) {
      return CudaConvolution.refuses(unit, inputs);
    }
    boolean perImage = op instanceof GroupNorm || op instanceof GroupNormBackward;
    return perImage && inputs.getFirst().shape().dim(0) > MOST_BLOCKS
        ? "at most " + MOST_BLOCKS + " images at once"
        : null;
  }

  /** Called with the device entered, for inputs that are not refused. */
  static CudaLaunch prepare(CudaDevice device, Op op, List<Tensor> in, List<Tensor> out) {
    Work work = new Work(device);
    try {
      FORMS.get(op.getClass()).add(work, op, in, out);
    } catch (RuntimeException | Error e) {
      work.abandon();
      throw e;
    }
    return work.launch(op, in, out);
  }
}
