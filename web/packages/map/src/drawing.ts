/** Markers and city names, drawn on a canvas: a page that works offline cannot ask a server for sprites or glyphs. */
import type { Map } from 'maplibre-gl';

const RATIO = 2;

/** A square picture that layers call by its name. */
export function addDrawing(map: Map, name: string, size: number, draw: (context: CanvasRenderingContext2D) => void): void {
  const context = canvas(size, size);
  draw(context);
  put(map, name, context);
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
  put(map, `city:${name}`, context);
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
