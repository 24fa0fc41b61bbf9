import { useEffect, useRef, useState, type FormEvent } from 'react';

type Props = {
  title: string;
  text: string;
  notice: string | null;
  onSignIn: (username: string, password: string) => Promise<void>;
};

export function SignIn({ title, text, notice, onSignIn }: Props) {
  const [failure, setFailure] = useState<string | null>(notice);
  const [busy, setBusy] = useState(false);
  const dialog = useRef<HTMLDialogElement>(null);

  // A modal dialog keeps the keyboard out of the page behind it.
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    setBusy(true);
    setFailure(null);
    try {
      await onSignIn(String(fields.get('username')), String(fields.get('password')));
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <dialog
      ref={dialog}
      className="sign-in"
      aria-labelledby="sign-in-title"
      data-testid="sign-in"
      onCancel={(event) => event.preventDefault()}
    >
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="sign-in-title">{title}</h2>
        <p>{text}</p>
        <label>
          User name
          <input name="username" autoComplete="username" required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {failure !== null && (
          <p className="sign-in-failure" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
    </dialog>
  );
}
