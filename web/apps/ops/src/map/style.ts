/** What mission control puts on the ground, from the bottom up. */
import { GROUND, byZoom } from '@doorstep/map';
import type { ExpressionSpecification, LayerSpecification } from 'maplibre-gl';

import { DRIVER_STATES } from '../frame';
import { DEMAND_RAMP, DRIVER_LOOK, OFFER_COLOR, PLACE_COLOR, RETURN_COLOR, WAITING_COLOR } from '../vocabulary';

export const SOURCES = ['hexes', 'legs', 'offers', 'drivers', 'places', 'pulses'] as const;
export type SourceId = (typeof SOURCES)[number];

const driverColor = [
  'match',
  ['get', 'state'],
  ...DRIVER_STATES.flatMap((state) => [state, DRIVER_LOOK[state].color]),
  '#ffffff',
] as unknown as ExpressionSpecification;

export const LAYERS: LayerSpecification[] = [
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
];
