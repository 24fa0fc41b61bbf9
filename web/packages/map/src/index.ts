/** A map of a region's ground, on which an app puts layers of its own; its looks are in `styles.css`. */
export { addDrawing } from './drawing';
export { GroundMap, type Overlay, type Region } from './GroundMap';
export { GROUND, byZoom } from './style';
