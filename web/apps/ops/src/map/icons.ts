/** The markers of places. */
import { addDrawing } from '@doorstep/map';
import type { Map } from 'maplibre-gl';

import { PLACE_COLOR, RETURN_COLOR } from '../vocabulary';

const INK = '#0a0d12';

export function addPlaceIcons(map: Map): void {
  addDrawing(map, 'pickup', 15, (context) => square(context, PLACE_COLOR));
  addDrawing(map, 'dropoff', 13, (context) => ring(context, PLACE_COLOR));
  addDrawing(map, 'return-pickup', 15, (context) => square(context, RETURN_COLOR));
  addDrawing(map, 'return-dropoff', 13, (context) => ring(context, RETURN_COLOR));
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
