package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.Model;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.util.function.IntConsumer;

/**
 * An encoder and a linear layer on its features, trained on labelled images: from the weights of an
 * encoder that was trained without labels, or from scratch, which is all that differs.
 *
 * @see "Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks"
 */
public final class FineTuning {
  private static final int BATCH = 128; // of images to be classified
  private static final double LAST_RATE = 0.01;

  private FineTuning() {}

  /**
   * How it is trained: by Adam, with a rate that falls to a hundredth over the steps.
   *
   * @param batch images a step
   * @param steps how many
   * @param learningRate at the start, after a warm-up of a twentieth of the steps
   */
  public record Settings(int batch, int steps, double learningRate) {
    /**
     * Those for so many labels: batches of 64 or, of fewer, all, for 30 epochs, but no fewer than
     * 300 steps and no more than 3,000; rate 10^-3.
     */
    public static Settings of(int labels) {
      int batch = Math.min(64, labels);
      long epochs = 30L * labels / batch;
      return new Settings(batch, Math.clamp(epochs, 300, 3_000), 1e-3);
    }

    private TrainConfig training(DType dtype, long seed) {
      double decay = Math.pow(LAST_RATE, 1.0 / steps);
      return new TrainConfig(
          batch, learningRate, steps / 20, decay, 0.9, 0.99, 1, 0.99, false, dtype, seed);
    }
  }

  /**
   * What came of it.
   *
   * @param accuracy the share of test images put in their classes, by the averaged weights
   * @param losses of each step's batch, in nats
   */
  public record Result(double accuracy, double[] losses) {}

  /**
   * Trains and tests a classifier.
   *
   * @param weights those of the model, or at least of its encoder; null to start from scratch
   * @param labelled what it is trained on
   * @param test what its accuracy is measured on
   * @param dtype of activations in training; the test is in f32
   * @param seed of the initial weights and the order of images
   * @param progress is told how many steps were done
   * @throws IllegalArgumentException in one line if there are no labels, fewer images than a batch,
   *     or images of another size
   */
  public static Result run(
      Device device,
      EncodingModel model,
      Parameters weights,
      Dataset labelled,
      Dataset test,
      Settings settings,
      DType dtype,
      long seed,
      IntConsumer progress) {
    Labels.require(labelled);
    Labels.require(test);
    EncoderClassifier classifier = new EncoderClassifier(model, labelled.classes());
    Trainer.requireFits(classifier, test);
    try (Trainer trainer =
        new Trainer(device, classifier, settings.training(dtype, seed), labelled)) {
      if (weights != null) {
        try (Parameters initial = new Parameters(device, classifier.parameters())) {
          initial.initialize(seed); // the linear layer's stay: the same as from scratch
          for (ParameterSpec spec : model.encoderParameters()) {
            initial.get(spec.name()).write(weights.get(spec.name()).toFloats());
          }
          trainer.startFrom(initial);
        }
      }
      double[] losses = new double[settings.steps];
      for (int step = 0; step < settings.steps; step++) {
        losses[step] = trainer.step();
        progress.accept(step + 1);
      }
      return new Result(accuracy(device, classifier, trainer.averagedWeights(), test), losses);
    }
  }

  private static double accuracy(
      Device device, EncoderClassifier classifier, Parameters weights, Dataset test) {
    try (Owned owned = new Owned()) {
      ImageBatch batch = owned.add(new ImageBatch(device, classifier, BATCH));
      Graph graph = new Graph();
      Value logits =
          classifier.logits(
              graph,
              name -> graph.bind(weights.get(name)),
              new Model.Input(graph.bind(batch.images()), null, DType.F32, null));
      Program program = owned.add(graph.compile(device, logits));
      int classes = classifier.classes();
      int right = 0;
      for (int first = 0; first < test.count(); first += BATCH) {
        int here = batch.load(test, first, test.count());
        program.run();
        float[] said = program.tensor(logits).toFloats();
        for (int i = 0; i < here; i++) {
          double[] own = new double[classes];
          for (int k = 0; k < classes; k++) {
            own[k] = said[i * classes + k];
          }
          right += Labels.argMax(own) == test.label(first + i) ? 1 : 0;
        }
      }
      return (double) right / Math.max(1, test.count());
    }
  }
}
