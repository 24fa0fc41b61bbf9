/** Asking the gateway's REST interface, and checks of what it answers. */
export { ask } from './ask';
export { ShapeError, flag, listOf, lngLat, mapOf, nullable, num, object, oneOf, text, type Check, type LngLat } from './shape';
