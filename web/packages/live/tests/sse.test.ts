import { describe, expect, test } from 'vitest';

import { SseParser } from '../src/sse';

const STREAM = ': hello\n\nevent: frame\ndata: {"a":1}\n\nevent: down\r\ndata: x\r\ndata: y\r\n\r\ndata:bare\n\n';
const EVENTS = [
  { event: 'frame', data: '{"a":1}' },
  { event: 'down', data: 'x\ny' },
  { event: 'message', data: 'bare' },
];

describe('SseParser', () => {
  test('reads events, joins data lines and skips comments', () => {
    expect(new SseParser().push(STREAM)).toEqual(EVENTS);
  });

  test('gives the same events however the stream is cut', () => {
    for (let size = 1; size < STREAM.length; size++) {
      const parser = new SseParser();
      const events = [];
      for (let at = 0; at < STREAM.length; at += size) events.push(...parser.push(STREAM.slice(at, at + size)));
      expect(events, `pieces of ${size}`).toEqual(EVENTS);
    }
  });

  test('says nothing of an event that is not finished', () => {
    const parser = new SseParser();
    expect(parser.push('event: frame\ndata: 1\n')).toEqual([]);
    expect(parser.push('\n')).toEqual([{ event: 'frame', data: '1' }]);
  });

  test('an event without data is no event, and its name does not leak into the next', () => {
    expect(new SseParser().push('event: frame\n\ndata: 1\n\n')).toEqual([{ event: 'message', data: '1' }]);
  });
});
