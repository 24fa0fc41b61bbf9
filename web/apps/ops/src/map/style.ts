/** The map's look: sources in the order they are fed, layers from the ground up. */
import type { ExpressionSpecification, GeoJSONSourceSpecification, StyleSpecification } from 'maplibre-gl';

import { DRIVER_STATES } from '../frame';
import { DEMAND_RAMP, DRIVER_LOOK, OFFER_COLOR, PLACE_COLOR, RETURN_COLOR, WAITING_COLOR } from '../vocabulary';

export const GROUND = '#0a0d12';

const EMPTY: GeoJSONSourceSpecification = {
  type: 'geojson',
  data: { type: 'FeatureCollection', features: [] },
  // Nothing here needs tiles beyond a street's width, and small buffers make each setData cheaper.
  maxzoom: 14,
  tolerance: 0.2,
};

const driverColor = [
  'match',
  ['get', 'state'],
  ...DRIVER_STATES.flatMap((state) => [state, DRIVER_LOOK[state].color]),
  '#ffffff',
] as unknown as ExpressionSpecification;

/** Circles and icons grow with the zoom: a metro on one screen, a street on another. */
function byZoom(far: number, near: number): ExpressionSpecification {
  return ['interpolate', ['linear'], ['zoom'], 8, far, 14, near];
}

export function opsStyle(tileUrl: string | null): StyleSpecification {
  return {
    version: 8,
    sources: {
      ...(tileUrl === null
        ? {}
        : { tiles: { type: 'raster' as const, tiles: [tileUrl], tileSize: 256, attribution: tileCredit(tileUrl) } }),
      outlines: EMPTY,
      labels: EMPTY,
      hexes: EMPTY,
      legs: EMPTY,
      offers: EMPTY,
      drivers: EMPTY,
      places: EMPTY,
      pulses: EMPTY,
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
      {
        id: 'hex-fill',
        type: 'fill',
        source: 'hexes',
        paint: {
          'fill-color': [
            'interpolate',
            ['linear'],
            ['get', 'heat'],
            0.2,
            DEMAND_RAMP[0],
            0.5,
            DEMAND_RAMP[1],
            0.78,
            DEMAND_RAMP[2],
            1,
            DEMAND_RAMP[3],
          ],
          'fill-opacity': ['interpolate', ['linear'], ['get', 'heat'], 0.2, 0.4, 1, 0.62],
          'fill-outline-color': 'rgba(10, 13, 18, 0.7)',
        },
      },
      {
        id: 'leg-line',
        type: 'line',
        source: 'legs',
        paint: {
          'line-color': ['case', ['get', 'returning'], RETURN_COLOR, PLACE_COLOR],
          'line-opacity': 0.16,
          'line-width': 1,
        },
      },
      {
        id: 'driver-dot',
        type: 'circle',
        source: 'drivers',
        paint: {
          'circle-color': driverColor,
          'circle-radius': byZoom(2.9, 7),
          'circle-stroke-color': GROUND,
          'circle-stroke-width': byZoom(1, 1.6),
          'circle-opacity': ['match', ['get', 'state'], ['stale', 'off'], 0.55, 1],
        },
      },
      {
        id: 'late-ring',
        type: 'circle',
        source: 'places',
        filter: ['get', 'late'],
        paint: {
          'circle-color': 'transparent',
          'circle-radius': byZoom(8, 14),
          'circle-stroke-color': WAITING_COLOR,
          'circle-stroke-width': 1.6,
        },
      },
      {
        id: 'place-icon',
        type: 'symbol',
        source: 'places',
        layout: {
          'icon-image': ['get', 'icon'],
          'icon-size': byZoom(0.72, 1.15),
          'icon-allow-overlap': true,
          'icon-ignore-placement': true,
        },
      },
      {
        id: 'offer-line',
        type: 'line',
        source: 'offers',
        layout: { 'line-cap': 'round' },
        paint: { 'line-color': OFFER_COLOR, 'line-opacity': 0.8, 'line-width': 1.5, 'line-dasharray': [1, 2.2] },
      },
      {
        id: 'pulse-glow',
        type: 'circle',
        source: 'pulses',
        paint: { 'circle-color': OFFER_COLOR, 'circle-radius': 9, 'circle-blur': 1, 'circle-opacity': 0.55 },
      },
      {
        id: 'pulse-dot',
        type: 'circle',
        source: 'pulses',
        paint: { 'circle-color': '#fff3dc', 'circle-radius': 2.4 },
      },
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
