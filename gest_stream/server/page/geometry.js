/** Where on the video a point of the screen lies: letterboxed (object-fit: contain) and maybe mirrored. */

/** The part of a box that the picture fills. */
export function pictureIn(box, picture) {
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { left: (box.width - width) / 2, top: (box.height - height) / 2, width, height };
}

/**
 * @param {{x: number, y: number}} point from the box's top left, CSS pixels
 * @param {{width: number, height: number}} box of the element
 * @param {{width: number, height: number}} picture the video's own size
 * @returns {[number, number] | null} 0 to 1 of the picture as it was sent; null beside the picture
 */
export function pointOnPicture(point, box, picture, mirrored) {
  if (!picture.width || !picture.height) return null;
  const { left, top, width, height } = pictureIn(box, picture);
  const [x, y] = [(point.x - left) / width, (point.y - top) / height];
  if (x < 0 || x > 1 || y < 0 || y > 1) return null;
  return [mirrored ? 1 - x : x, y];
}

/** The other way round: where in the box a point of the picture is shown. */
export function pointInBox([x, y], box, picture, mirrored) {
  const { left, top, width, height } = pictureIn(box, picture);
  return { x: left + (mirrored ? 1 - x : x) * width, y: top + y * height };
}

/** The smallest hand whose box holds a point. */
export function handAt([x, y], result) {
  if (!result) return null;
  const [width, height] = result.size;
  const holds = ({ box_xyxy_px: box }) =>
    box && x * width >= box[0] && x * width <= box[2] && y * height >= box[1] && y * height <= box[3];
  const area = ({ box_xyxy_px: box }) => (box[2] - box[0]) * (box[3] - box[1]);
  return result.tracks.filter(holds).sort((a, b) => area(a) - area(b))[0] ?? null;
}
