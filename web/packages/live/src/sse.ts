/**
 * A parser for `text/event-stream`. The browser's own EventSource cannot send an Authorization header, so the page
 * reads the stream itself.
 */

export type ServerEvent = { event: string; data: string };

export class SseParser {
  private rest = '';
  private event = '';
  private data: string[] = [];

  /** Takes the next piece of text, cut anywhere, and returns the events it completed. */
  push(chunk: string): ServerEvent[] {
    const done: ServerEvent[] = [];
    let buffer = this.rest + chunk;
    // A carriage return at the very end may be half of a CRLF: leave it for the next piece.
    const held = buffer.endsWith('\r') ? '\r' : '';
    if (held) buffer = buffer.slice(0, -1);
    const lines = buffer.split(/\r\n|\n|\r/);
    this.rest = (lines.pop() ?? '') + held;
    for (const line of lines) {
      const event = this.line(line);
      if (event) done.push(event);
    }
    return done;
  }

  private line(line: string): ServerEvent | null {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    // An empty field name is a comment (the keep-alive); `id` and `retry` mean nothing here: each frame is whole.
    if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
    return null;
  }

  private dispatch(): ServerEvent | null {
    const event = this.data.length > 0 ? { event: this.event || 'message', data: this.data.join('\n') } : null;
    this.event = '';
    this.data = [];
    return event;
  }
}
