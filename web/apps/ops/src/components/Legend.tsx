import { DRIVER_STATES } from '../frame';
import {
  DEMAND_RAMP,
  DRIVER_LOOK,
  LONG_WAIT_S,
  OFFER_COLOR,
  PLACE_COLOR,
  RETURN_COLOR,
  WAITING_COLOR,
} from '../vocabulary';

/** A strip under the map rather than a box on it: it must never hide a driver. */
export function Legend() {
  return (
    <ul className="legend" aria-label="Map legend">
      {DRIVER_STATES.map((state) => (
        <li key={state}>
          <i className="dot" style={{ background: DRIVER_LOOK[state].color }} />
          {DRIVER_LOOK[state].label}
        </li>
      ))}
      <li>
        <i className="key-square" style={{ background: PLACE_COLOR }} />
        Store
      </li>
      <li>
        <i className="key-ring" style={{ borderColor: PLACE_COLOR }} />
        Doorstep
      </li>
      <li>
        <i className="key-square" style={{ background: RETURN_COLOR }} />
        Return
      </li>
      <li>
        <i className="key-line" style={{ borderColor: OFFER_COLOR }} />
        Offer
      </li>
      <li>
        <i className="key-ring key-ring-wide" style={{ borderColor: WAITING_COLOR }} />
        Waits over {LONG_WAIT_S / 60} min
      </li>
      <li>
        <i className="key-ramp" style={{ background: `linear-gradient(90deg, ${DEMAND_RAMP.join(', ')})` }} />
        Demand
      </li>
    </ul>
  );
}
