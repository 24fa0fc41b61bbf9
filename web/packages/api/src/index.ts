/** Asking the gateway's REST interface, and checks of what it answers. */
export { api, told } from './client';
export type { components, operations, paths } from './schema';
export { ShapeError, flag, listOf, lngLat, mapOf, nullable, num, object, oneOf, text, type Check, type LngLat } from './shape';
