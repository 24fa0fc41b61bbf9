/** Server-sent events, followed for as long as they are wanted. */
export { backoffMs, follow, type Following } from './follow';
export { SseParser, type ServerEvent } from './sse';
