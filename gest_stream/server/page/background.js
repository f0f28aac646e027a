/** The background picture: any picture the browser can read becomes a JPEG of a bounded size, without its metadata. */

const LONGEST_SIDE = 1920;
const QUALITY = 0.9;

/**
 * @param {File} file
 * @returns {Promise<Blob>} image/jpeg
 * @throws {Error} it is no picture
 */
export async function asJpeg(file) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read; take a JPEG or PNG file`);
  });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}
