/** Markers and city names, drawn on a canvas: a page that works offline cannot ask a server for sprites or glyphs. */
import type { Map } from 'maplibre-gl';

import { PLACE_COLOR, RETURN_COLOR } from '../vocabulary';

const RATIO = 2;
const INK = '#0a0d12';

export function addPlaceIcons(map: Map): void {
  addIcon(map, 'pickup', 15, (context) => square(context, PLACE_COLOR));
  addIcon(map, 'dropoff', 13, (context) => ring(context, PLACE_COLOR));
  addIcon(map, 'return-pickup', 15, (context) => square(context, RETURN_COLOR));
  addIcon(map, 'return-dropoff', 13, (context) => ring(context, RETURN_COLOR));
}

export function addCityName(map: Map, name: string, rank: number): void {
  const size = rank === 1 ? 15 : rank === 2 ? 12 : 11;
  const label = rank === 1 ? name.toUpperCase() : name;
  const font = `${rank === 1 ? 600 : 500} ${size}px "IBM Plex Sans Variable", sans-serif`;
  const spacing = rank === 1 ? '1.6px' : '0.3px';
  const measure = canvas(1, 1);
  measure.font = font;
  measure.letterSpacing = spacing;
  const width = Math.ceil(measure.measureText(label).width) + 10;
  const height = size + 10;
  const context = canvas(width, height);
  context.font = font;
  context.letterSpacing = spacing;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 4;
  context.strokeStyle = 'rgb(10 13 18 / 0.85)';
  context.strokeText(label, width / 2, height / 2);
  context.fillStyle = rank === 1 ? '#e3e9f1' : '#b3bfce';
  context.fillText(label, width / 2, height / 2);
  put(map, cityIcon(name), context);
}

export function cityIcon(name: string): string {
  return `city:${name}`;
}

function square(context: CanvasRenderingContext2D, color: string): void {
  context.fillStyle = INK;
  context.beginPath();
  context.roundRect(1, 1, 13, 13, 3.5);
  context.fill();
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(3, 3, 9, 9, 2);
  context.fill();
  // A door in the square: this is the store.
  context.fillStyle = INK;
  context.fillRect(6.25, 7, 2.5, 5);
}

function ring(context: CanvasRenderingContext2D, color: string): void {
  context.strokeStyle = INK;
  context.lineWidth = 5;
  context.beginPath();
  context.arc(6.5, 6.5, 3.6, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = 1.8;
  context.stroke();
}

function addIcon(map: Map, name: string, size: number, draw: (context: CanvasRenderingContext2D) => void): void {
  const context = canvas(size, size);
  draw(context);
  put(map, name, context);
}

function canvas(width: number, height: number): CanvasRenderingContext2D {
  const element = document.createElement('canvas');
  element.width = width * RATIO;
  element.height = height * RATIO;
  const context = element.getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('this browser has no 2D canvas');
  context.scale(RATIO, RATIO);
  return context;
}

function put(map: Map, name: string, context: CanvasRenderingContext2D): void {
  if (map.hasImage(name)) return;
  const { width, height } = context.canvas;
  map.addImage(name, context.getImageData(0, 0, width, height), { pixelRatio: RATIO });
}
