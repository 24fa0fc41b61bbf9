"""What befalls a simulated world as a whole while faults strike: processes die and stand still, clocks are set,
somebody holds a row, an operator changes one by hand.
"""

from __future__ import annotations

from collections.abc import Callable

from domain.orders.lifecycle import OfferStatus
from sim.world.net import Node
from sim.world.processes import RegionProcess
from sim.world.surroundings import Surroundings

FIRST_S, EVERY_S = (1.0, 10.0), (0.5, 8.0)  # wall time until a kind strikes, and between two strikes
RESTART_S = (0.2, 2.0)  # wall time until the cluster has started a dead process again
NOTICED_S, FROZEN_S = (0.05, 6.0), (0.05, 20.0)  # until a frozen process is held for dead, and until it wakes
TWIN_S = (0.5, 10.0)  # until the cluster ends a process that woke beside its successor
SET_S = (0.01, 0.5)  # by which one process's clock is set, wall time
STEP_S = (1.0, 3600.0)  # by which the machine's clock is set, wall time
LOCKED_S = (0.5, 30.0)  # for which somebody holds a row
SWEEP_EVERY_S, SWEEP_LIMIT = 3.0, 5_000
SPOILT_S = (0.5, 20.0)  # for which no region can live with a row


class FaultInjection:
    """Strikes by the world's faults until they end. `twins`: processes held for dead, beside their successors."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self.twins: list[Node] = []
        strikes: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "freeze": self._freeze,
            "clock": self._set_clock,
            "step": self._step_clocks,
            "lock": self._hold_row,
            "hand": self._change_row,
        }
        for kind, strike in strikes.items():
            if kind in world.faults.kinds:
                world.loop.outside_later(world.chance.uniform(*FIRST_S), self._go_on, kind, strike)
        if "sweep" in world.faults.kinds:
            world.loop.outside_later(SWEEP_EVERY_S, self._sweep)

    def _go_on(self, kind: str, strike: Callable[[], None]) -> None:
        world = self._world
        # What shows only where it is aimed at a market is aimed at the one that is hurt, if there is one.
        if world.faults.strikes(kind, 0.35, (world.faults.hurt or "") if kind in _AIMED else ""):
            strike()
        if world.faults.active:
            world.loop.outside_later(world.chance.uniform(*EVERY_S), self._go_on, kind, strike)

    def clear_up(self) -> None:
        """Whoever stands still goes on."""
        for node in [*self._world.net.nodes.values(), *self.twins]:
            self._thaw(node)

    # -- processes ----------------------------------------------------------------------------------------------------

    def _victim(self, kind: str) -> Node | None:
        world = self._world
        nodes = [node for node in world.net.nodes.values() if node.alive and not node.frozen]
        if world.faults.hurt is not None:
            nodes = [node for node in nodes if node.name == f"region:{world.faults.hurt}"]
        return nodes[world.faults.choice(kind, len(nodes))] if nodes else None

    def _crash(self) -> None:
        if (node := self._victim("crash")) is not None:
            self._world.died(node)

    def _freeze(self) -> None:
        world = self._world
        node = self._victim("freeze")
        if node is None:
            return
        world.say(lambda: f"{node.name} freezes")
        world.checker.saw[f"froze {node.name.partition(':')[0]}"] += 1
        node.freeze()
        self._excuse(node)
        world.loop.outside_later(world.faults.amount("freeze", *NOTICED_S), self._replace, node)
        world.loop.outside_later(world.faults.amount("freeze", *FROZEN_S), self._thaw, node)

    def _replace(self, node: Node) -> None:
        """The cluster holds a frozen process for dead; it may wake beside its successor."""
        world = self._world
        if node.frozen and node.alive:
            world.checker.saw["twins"] += 1
            self.twins.append(node)
            world.net.abandon(node)
            world.loop.outside_later(world.chance.uniform(*RESTART_S), world.start, node.name)

    def _thaw(self, node: Node) -> None:
        world = self._world
        if node.frozen and node.alive:
            world.say(lambda: f"{node.name} wakes")
            self._excuse(node)
            node.thaw()
            if node in self.twins:
                # The cluster ends the twin when it sees it; until then it goes on.
                world.loop.outside_later(world.chance.uniform(*TWIN_S), node.kill)

    # -- clocks -------------------------------------------------------------------------------------------------------

    def _set_clock(self) -> None:
        if (node := self._victim("clock")) is not None:
            node.ahead_s += self._world.faults.amount("clock", *SET_S) * self._world.chance.choice((-1, 1))
            self._world.say(lambda: f"{node.name}'s clock is {node.ahead_s:+.2f} s off")
            self._excuse(node)

    def _step_clocks(self) -> None:
        """The machine's wall clock is set, and the database's with it; the server's goes on evenly."""
        world = self._world
        step_s = world.faults.amount("step", *STEP_S) * world.chance.choice((-1, 1))
        world.set_by_s += step_s
        world.store.set_clock(step_s)
        world.say(lambda: f"the machine's clock is set by {step_s:+.2f} s")

    def _excuse(self, node: Node) -> None:
        """Whatever this process is late with is not its fault."""
        if isinstance(node.target, RegionProcess):
            lives = ((node.target.region_id, life) for life in node.target.lives)
            self._world.checker.excused_regions.update(lives)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _hold_row(self) -> None:
        """Somebody at a console has an order's row locked, and thinks."""
        world = self._world
        hurt = world.faults.hurt
        orders = [
            one.order_id for one in world.checker.memory.orders.values() if hurt in (None, one.region_id)
        ]
        if orders:
            order_id = orders[-1 - world.faults.choice("lock", min(5, len(orders)))]
            for_s = world.faults.amount("lock", *LOCKED_S)
            world.say(lambda: f"somebody holds the row of {order_id} for {for_s:.1f} s")
            world.store.hold_row(order_id, for_s)

    def _change_row(self) -> None:
        """An operator ends an offer by hand, and forgets its tasks."""
        world = self._world
        hurt = world.faults.hurt
        live = [
            offer
            for offer in world.checker.memory.offers.values()
            if offer.status is OfferStatus.OFFERED and hurt in (None, offer.region_id)
        ]
        if live:
            offer = live[world.faults.choice("hand", len(live))]
            world.say(lambda: f"an operator ends {offer.offer_id}")
            world.checker.ended_by_hand(world.store.end_offer(offer.offer_id, round(world.now_s() * 1000)))
        elif world.faults.strikes("hand", 0.3, hurt or ""):
            market = hurt or world.regions[world.faults.choice("hand", len(world.regions))]
            for_s = world.faults.amount("hand", *SPOILT_S)
            world.say(lambda: f"for {for_s:.1f} s no region can live with a row of {market}")
            world.store.spoil(market, for_s)

    def _sweep(self) -> None:
        """A persistence actor sweeps, oftener than one does in so short a time, and without faults too."""
        world, limits, now_s = self._world, self._world.limits, self._world.now_s()
        before_ms = round((now_s - limits.idempotency_ttl_s) * 1000)
        explained_before_ms = round((now_s - limits.explain_keep_s) * 1000)
        world.loop.start(world.store.sweep(before_ms, explained_before_ms, SWEEP_LIMIT))
        world.loop.outside_later(SWEEP_EVERY_S, self._sweep)


_AIMED = frozenset({"crash", "freeze", "lock", "hand"})
