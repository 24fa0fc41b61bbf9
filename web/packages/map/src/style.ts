/** The look of the ground: what lies under an app's own layers, and the cities' names above them. */
import type {
  ExpressionSpecification,
  GeoJSONSourceSpecification,
  LayerSpecification,
  StyleSpecification,
} from 'maplibre-gl';

export const GROUND = '#0a0d12';

const EMPTY: GeoJSONSourceSpecification = {
  type: 'geojson',
  data: { type: 'FeatureCollection', features: [] },
  // Nothing here needs tiles beyond a street's width, and small buffers make each setData cheaper.
  maxzoom: 14,
  tolerance: 0.2,
};

/** Circles and icons grow with the zoom: a metro on one screen, a street on another. */
export function byZoom(far: number, near: number): ExpressionSpecification {
  return ['interpolate', ['linear'], ['zoom'], 8, far, 14, near];
}

export function groundStyle(
  tileUrl: string | null,
  sources: readonly string[],
  layers: readonly LayerSpecification[],
): StyleSpecification {
  return {
    version: 8,
    sources: {
      ...(tileUrl === null
        ? {}
        : { tiles: { type: 'raster' as const, tiles: [tileUrl], tileSize: 256, attribution: tileCredit(tileUrl) } }),
      ...Object.fromEntries(['outlines', 'labels', ...sources].map((id) => [id, EMPTY])),
    },
    layers: [
      { id: 'ground', type: 'background', paint: { 'background-color': GROUND } },
      ...(tileUrl === null
        ? []
        : [
            {
              id: 'tiles',
              type: 'raster' as const,
              source: 'tiles',
              // Public tiles are drawn for daylight; turned down, they stay legible under the data.
              paint: { 'raster-saturation': -0.85, 'raster-brightness-max': 0.34, 'raster-contrast': 0.1 },
            },
          ]),
      {
        id: 'city-fill',
        type: 'fill',
        source: 'outlines',
        filter: ['==', ['geometry-type'], 'Polygon'],
        paint: { 'fill-color': '#141b25', 'fill-opacity': tileUrl === null ? 1 : 0.25 },
      },
      {
        id: 'road-line',
        type: 'line',
        source: 'outlines',
        filter: ['==', ['geometry-type'], 'LineString'],
        layout: { 'line-join': 'round', 'line-cap': 'round' },
        // Real tiles have their own roads.
        paint: { 'line-color': '#263245', 'line-width': byZoom(1.6, 4), 'line-opacity': tileUrl === null ? 1 : 0 },
      },
      {
        id: 'city-line',
        type: 'line',
        source: 'outlines',
        filter: ['==', ['geometry-type'], 'Polygon'],
        layout: { 'line-join': 'round' },
        paint: { 'line-color': '#33425a', 'line-width': byZoom(1, 2) },
      },
      ...layers,
      {
        id: 'city-name',
        type: 'symbol',
        source: 'labels',
        layout: {
          'icon-image': ['concat', 'city:', ['get', 'name']],
          // Where names would collide the bigger city keeps its own.
          'symbol-sort-key': ['get', 'rank'],
          'icon-padding': 1,
        },
      },
    ],
  };
}

/** Whoever serves the tiles is named on the map; the settings give no better name than the host. */
function tileCredit(tileUrl: string): string {
  const host = /^https?:\/\/([^/:]+)/.exec(tileUrl)?.[1] ?? 'this server';
  return host.endsWith('openstreetmap.org') ? '© OpenStreetMap contributors' : `Tiles: ${host}`;
}
