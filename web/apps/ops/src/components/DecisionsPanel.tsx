import { clock } from '@doorstep/format';
import { Panel } from '@doorstep/ui';

import { feedLines } from '../decisions';
import type { Decision } from '../frame';

export function DecisionsPanel({ decisions }: { decisions: readonly Decision[] | undefined }) {
  const lines = feedLines(decisions ?? []);
  return (
    <Panel title="Decisions" aside="newest first" className="panel-feed">
      {/* Focusable, so that the keyboard can scroll it; not a live region: four lines a second cannot be spoken. */}
      <ol className="feed" data-testid="decisions" tabIndex={0} aria-label="Last decisions, newest first">
        {lines.map(({ key, at_ms, text, tone }) => (
          <li key={key} data-tone={tone}>
            <time dateTime={new Date(at_ms).toISOString()}>{clock(at_ms)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
      {lines.length === 0 && <p className="empty">No decisions yet. They appear here as the region makes them.</p>}
    </Panel>
  );
}
