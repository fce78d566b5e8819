package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.Model.ImageShape;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.IntFunction;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.ImageOutputStream;

/** A grid of images that changes, again and again; the last state is shown longest. */
final class AnimatedGif {
  private static final int LAST_HUNDREDTHS = 250;
  private static final int PADDING = 2;

  private AnimatedGif() {}

  /**
   * Writes the animation.
   *
   * @param hundredths of a second that each frame but the last is shown
   * @param pixels of a frame by its number, [count,H,W,C] u8
   */
  static void write(
      Path file,
      int frames,
      int hundredths,
      int count,
      ImageShape shape,
      IntFunction<byte[]> pixels)
      throws IOException {
    ImageWriter writer = ImageIO.getImageWritersByFormatName("gif").next();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ImageOutputStream out = ImageIO.createImageOutputStream(bytes)) {
      writer.setOutput(out);
      writer.prepareWriteSequence(null);
      for (int i = 0; i < frames; i++) {
        BufferedImage frame = frame(pixels.apply(i), count, shape);
        int delay = i == frames - 1 ? LAST_HUNDREDTHS : hundredths;
        writer.writeToSequence(
            new IIOImage(frame, null, metadata(writer, frame, delay, i == 0)), null);
      }
      writer.endWriteSequence();
    } finally {
      writer.dispose();
    }
    AtomicFile.write(file, bytes.toByteArray());
  }

  private static BufferedImage frame(byte[] now, int count, ImageShape shape) {
    Image grid =
        Images.grid(
                now,
                count,
                shape.height(),
                shape.width(),
                shape.channels(),
                (int) Math.ceil(Math.sqrt(count)),
                PADDING,
                ImageFiles.scale(shape))
            .toRgb();
    BufferedImage frame =
        new BufferedImage(grid.width(), grid.height(), BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < grid.height() * grid.width(); i++) {
      int r = grid.pixels()[3 * i] & 0xFF;
      int g = grid.pixels()[3 * i + 1] & 0xFF;
      int b = grid.pixels()[3 * i + 2] & 0xFF;
      frame.setRGB(i % grid.width(), i / grid.width(), r << 16 | g << 8 | b);
    }
    return frame;
  }

  /** How long the frame is shown and, with the first, that the whole is shown again and again. */
  private static IIOMetadata metadata(
      ImageWriter writer, BufferedImage frame, int hundredths, boolean first) throws IOException {
    IIOMetadata metadata =
        writer.getDefaultImageMetadata(ImageTypeSpecifier.createFromRenderedImage(frame), null);
    String format = metadata.getNativeMetadataFormatName();
    IIOMetadataNode root = (IIOMetadataNode) metadata.getAsTree(format);
    IIOMetadataNode control = child(root, "GraphicControlExtension");
    control.setAttribute("disposalMethod", "none");
    control.setAttribute("userInputFlag", "FALSE");
    control.setAttribute("transparentColorFlag", "FALSE");
    control.setAttribute("transparentColorIndex", "0");
    control.setAttribute("delayTime", Integer.toString(hundredths));
    if (first) {
      IIOMetadataNode loop = new IIOMetadataNode("ApplicationExtension");
      loop.setAttribute("applicationID", "NETSCAPE");
      loop.setAttribute("authenticationCode", "2.0");
      loop.setUserObject(new byte[] {1, 0, 0});
      child(root, "ApplicationExtensions").appendChild(loop);
    }
    metadata.setFromTree(format, root);
    return metadata;
  }

  private static IIOMetadataNode child(IIOMetadataNode root, String name) {
    for (int i = 0; i < root.getLength(); i++) {
      if (root.item(i).getNodeName().equals(name)) {
        return (IIOMetadataNode) root.item(i);
      }
    }
    IIOMetadataNode made = new IIOMetadataNode(name);
    root.appendChild(made);
    return made;
  }
}
