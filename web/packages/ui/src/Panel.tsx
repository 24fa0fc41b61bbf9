import { useId, type ReactNode } from 'react';

type Props = { title: string; aside?: ReactNode; className?: string; children: ReactNode };

export function Panel({ title, aside, className = '', children }: Props) {
  const heading = useId();
  return (
    <section className={`panel ${className}`} aria-labelledby={heading}>
      <header className="panel-head">
        <h2 id={heading}>{title}</h2>
        {aside !== undefined && <span className="panel-aside">{aside}</span>}
      </header>
      {children}
    </section>
  );
}
