"""Carries out reloads, from the trigger to a rollout or a refusal: check, read, check again, act.

Theory. Two triggers may come in the same instant, and between check and act files are read and commands run,
so each pool is *marked* first: one plain function checks it and takes the id of the rollout it will have, and
whoever comes later is told of that id. What was read is then judged together with the state of that moment,
again in one plain function that ends with the act. The mark goes on every path, into the rollout or into
nothing.

The configuration is taken over whole or not at all: a file with a mistake changes nothing, and neither does
one that changes a pool which cannot be rolled now, because half of a configuration is one that nobody wrote.
Whatever can fail is done first: files are read, sockets bound, and pools that are new are started and have to come up
before a route names them and before what they replace ends.
A pool that is refused and has *not* changed does not hold the others up; the answer names it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import trio

from hotswap.control.configuration.loading import load_configuration, locate_problems
from hotswap.control.pools.release import Release
from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.applying import apply_configuration
from hotswap.control.process.listeners import Prepared
from hotswap.control.process.parts import Parts
from hotswap.control.rollout.marks import Marks
from hotswap.control.rollout.offer import Offer, read_offer, read_offers
from hotswap.control.rollout.rollouts import RolloutRun
from hotswap.core.config import Configuration, PoolTable, StaticPoolTable, SupervisedPoolTable
from hotswap.core.errors import MISSING, ConfigError, PoolNotStarted, Problem, RefusalCode, Refused, Verbatim
from hotswap.core.identity import RolloutId
from hotswap.core.rollout.queue import QueuedSlot, plan_queue
from hotswap.core.rollout.refusal import rollout_in_progress
from hotswap.core.rollout.rollout import Rollout
from hotswap.core.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAnswer:
    """The result of a reload.

    Attributes:
        rollouts: those accepted, in the order in which they run, one after the other.
        refusals: pools that stay as they are, by name, with the reason.
        changes: what else the configuration changed, in words, such as "listener public opened".
        down: pools in which nothing serves, and which were not started anew because they have not changed.
    """

    rollouts: tuple[Rollout, ...] = ()
    refusals: Mapping[str, Refused] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


class Reloader:
    """Carries out the reloads of a proxy."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._marks = Marks(parts)
        # Reading and acting of one reload never mingles with that of another; checking and marking comes before it.
        self._turn = trio.Lock()

    async def reload_all(self, *, trigger: str) -> ReloadAnswer:
        """Read the configuration, take it over, and roll every supervised pool.

        Raises:
            Refused: no pool can be rolled, or one that has changed cannot; nothing was changed.

        **Cancellation**: nothing was changed.
        """
        self._marks.refuse_for_all()
        marked: dict[str, RolloutId] = {}
        refusals: dict[str, Refused] = {}
        try:
            supervised = self._parts.pools.supervised()
            self._marks.mark_all(supervised, marked, refusals)
            if supervised and not marked:
                raise _refused_all(refusals)
            async with self._turn:
                config, problems = await self._load()
                self._marks.mark_all(self._coming_back(config), marked, refusals)
                return await self._apply(config, problems, marked, refusals, trigger)
        finally:
            self._marks.unmark(marked)

    async def reread(self, *, trigger: str) -> ReloadAnswer:
        """Read the configuration, take it over, and roll the pools whose definition has changed.

        One of which only the size has changed grows or shrinks, and nothing in it is replaced.

        Raises:
            ConfigError: it cannot be used; nothing was changed.
            Refused: a pool that has changed cannot be rolled; nothing was changed.

        **Cancellation**: nothing was changed.
        """
        self._marks.refuse_for_all()
        marked: dict[str, RolloutId] = {}
        try:
            async with self._turn:
                config, problems = await self._load()
                if config is None:
                    raise self._unusable(problems)
                try:
                    for pool in self._changed(config):
                        if not self._only_resized(pool, config):
                            marked[pool.name] = self._marks.mark(pool)
                    answer = await self._apply(config, problems, marked, {}, trigger, strict=True)
                except Refused as refused:
                    raise self._not_applied(refused) from None
                return replace(answer, down=self._tell_down())
        finally:
            self._marks.unmark(marked)

    async def reload_pool(self, name: str, *, trigger: str) -> Rollout:
        """Read the configuration and roll one pool by its definition there; everything else stays as it is.

        Raises:
            NotFound: there is none of this name.
            Refused: nothing was changed.

        **Cancellation**: nothing was changed.
        """
        if not self._parts.pools:
            self._marks.refuse_for_all(name)
        pool = self._parts.pools[name]
        marked: dict[str, RolloutId] = {}
        try:
            marked[name] = self._marks.mark(pool)
            assert isinstance(pool, SupervisedPool), "static pools are refused"
            async with self._turn:
                config, problems = await self._load(only_pool=name)
                table = None if config is None else config.pools.get(name)
                if config is not None and not isinstance(table, SupervisedPoolTable):
                    found = MISSING if table is None else Verbatim("a static pool")
                    allowed = 'a supervised pool; to take over a file without it: "hotswap reload"'
                    problems = (Problem(f"pools.{name}", found, allowed),)
                if not isinstance(table, SupervisedPoolTable):
                    table = pool.table
                offer = await read_offer(pool.name, table, self._parts.surroundings, problems)
                offer = replace(offer, problems=await self._locate(offer.problems))
                refusal = self._marks.check(pool, offer)
                if refusal is not None:
                    raise self._marks.tell(pool.name, refusal)
                run = self._make_run(pool, offer, marked.pop(name), trigger)
                self._start((run,))
                return run.rollout
        finally:
            self._marks.unmark(marked)

    def _start(self, runs: Sequence[RolloutRun]) -> None:
        """Perform rollouts one after the other, from now on."""
        if runs:
            self._parts.book.start(runs, self._parts.nursery)
            self._parts.life.changed.set()

    def _not_applied(self, refused: Refused) -> Refused:
        """Tell that a refusal about one pool holds all that the configuration changes up."""
        self._parts.log.warning("config.not_applied", code=refused.code.value, detail=refused.detail)
        return Refused(refused.code, f"{refused.detail}; nothing of the configuration was taken over", refused.state)

    def _tell_down(self) -> tuple[str, ...]:
        """Tell of the pools in which nothing serves and that this did not start anew, because they have not changed."""
        names = []
        for pool in self._parts.pools.supervised():
            down = not pool.core.ready_slots() and any(slot.backoff.crashes for slot in pool.slots.values())
            if down and pool.rollout_id is None and pool.core.locked is None:
                detail = (
                    f"nothing serves in it, and its definition is as before; once repaired: hotswap reload {pool.name}"
                )
                pool.log.warning("pool.still_down", detail=detail)
                names.append(pool.name)
        return tuple(names)

    def _unusable(self, problems: tuple[Problem, ...]) -> ConfigError:
        error = ConfigError(problems)
        self._parts.log.error("config.invalid", problems=[str(problem) for problem in problems])
        self._parts.events.publish("config.invalid", problems=[str(problem) for problem in problems])
        return error

    # Read. Nothing in here changes anything, and nothing that is read can raise.

    async def _load(self, only_pool: str | None = None) -> tuple[Configuration | None, tuple[Problem, ...]]:
        parts = self._parts
        path = parts.config_path
        try:
            held = parts.listeners.certificates()
            load = partial(load_configuration, path, held=held, only_pool=only_pool)
            config = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
        except ConfigError as error:
            return None, error.problems
        except Exception as error:
            parts.log.error("config.crashed", exc_info=error)
            return None, (Problem("file", Verbatim("unusable"), f"a configuration; {error!r}", str(path)),)
        problems = tuple(
            Problem(
                f"pools.{name}",
                Verbatim("another kind of pool"),
                "of the same kind until a restart; give the new pool a name of its own",
            )
            for name, table in config.pools.items()
            if (known := parts.pools.find(name)) is not None
            and isinstance(known, StaticPool) is not isinstance(table, StaticPoolTable)
        )
        return (None if problems else config), await self._locate(problems)

    async def _locate(self, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        """Add file and line to what was found wrong after the file had been read."""
        if all(problem.file for problem in problems):
            return problems
        error = await trio.to_thread.run_sync(locate_problems, ConfigError(problems), self._parts.config_path)
        return error.problems

    # Act.

    def _changed(self, config: Configuration) -> list[SupervisedPool]:
        """Give the supervised pools that the configuration defines anew."""
        return [
            pool
            for name, table in config.pools.items()
            if isinstance(pool := self._parts.pools.find(name), SupervisedPool)
            and any(table != known for known in (pool.table, *self._coming(pool)))
        ]

    def _only_resized(self, pool: SupervisedPool, config: Configuration) -> bool:
        """Tell whether the configuration gives a pool another size and nothing else, and no rollout is needed for it.

        One is where none of the slots that stay serves: what serves now would end with the others. And a store for one
        process at a time bears no more of them.
        """
        table = config.pools[pool.name]
        assert isinstance(table, SupervisedPoolTable), "a pool of another kind is a problem"
        if self._coming(pool) or table != pool.table.model_copy(update={"size": table.size}):
            return False
        size = table.slots(self._parts.processors)
        if size > pool.core.size and not table.storage.shared:
            return False
        return any(slot < size for slot in pool.core.ready_slots())

    def _resize(self, config: Configuration) -> tuple[str, ...]:
        """Give the pools another size of which that alone has changed; what it does is told."""
        changes = []
        for pool in self._changed(config):
            if pool.rollout_id is None and self._only_resized(pool, config):
                before = pool.core.size
                table = config.pools[pool.name]
                assert isinstance(table, SupervisedPoolTable), "it was compared with one"
                pool.resize(table)
                starts = pool.core.locked is None or pool.core.size < before
                what = "" if starts else f", and starts nothing while it is locked: hotswap unlock {pool.name}"
                changes.append(f"pool {pool.name} resized from {before} to {pool.core.size}{what}")
        return tuple(changes)

    def _coming(self, pool: SupervisedPool) -> list[PoolTable]:
        """Give the definitions that rollouts of this pool, at hand or waiting, are about to put in force."""
        runs = [run for run in self._parts.book.unfinished() if run.rollout.pool == pool.name]
        return [pool.releases[run.rollout.generation].table for run in runs]

    def _coming_back(self, config: Configuration | None) -> list[SupervisedPool]:
        """Give the supervised pools that were about to leave and that the configuration has again."""
        return [
            pool
            for name in (() if config is None else config.pools)
            if isinstance(pool := self._parts.pools.leaving(name), SupervisedPool)
        ]

    async def _apply(
        self,
        config: Configuration | None,
        problems: tuple[Problem, ...],
        marked: dict[str, RolloutId],
        refusals: dict[str, Refused],
        trigger: str,
        *,
        strict: bool = False,
    ) -> ReloadAnswer:
        """Read what the configuration names, judge all of it, and take it over.

        Args:
            config: what is taken over; None when it cannot be.
            problems: why it cannot be.
            marked: the pools to be rolled; those that were are taken out.
            refusals: the pools that were refused before; those refused here are added.
            trigger: who asked.
            strict: say what is wrong with the configuration before anything about pools.

        Raises:
            ConfigError: with `strict`: the configuration cannot be used.
            PoolNotStarted: a pool that is new in it did not come up.
            Refused: a pool cannot be rolled, or (without `strict`) the configuration cannot be used.
        """
        parts = self._parts
        wanted = config.pools if config is not None else {}
        rolled: dict[str, SupervisedPoolTable] = {}
        for name in marked:
            pool = parts.pools.find(name)
            if not isinstance(pool, SupervisedPool):
                continue  # removed by the reload before this one
            table = wanted.get(name, pool.table)
            if config is None or name in wanted:
                assert isinstance(table, SupervisedPoolTable), "a pool of another kind is a problem"
                rolled[name] = table
        started = _supervised(parts.pools.missing(wanted))
        read = await read_offers(rolled | started, parts.surroundings)
        # Without a configuration it is what the pools are by now, and no fault of the file.
        offers = {name: read[name] if config else replace(read[name], problems=()) for name in rolled}
        new = {name: read[name] for name in started}
        prepared: Prepared | None = None
        if config is not None:
            problems = (*problems, *(problem for offer in new.values() for problem in offer.problems))
            try:
                prepared = await trio.to_thread.run_sync(parts.listeners.prepare, config)
            except ConfigError as error:
                problems = (*problems, *error.problems)
        try:
            problems = await self._locate(problems)
            offers = {
                name: replace(offer, problems=await self._locate(offer.problems)) for name, offer in offers.items()
            }
            # What is wrong with what was read while the proxy ends is no fault of the file.
            self._marks.refuse_for_all()
            wrong = (*problems, *(problem for offer in offers.values() for problem in offer.problems))
            if strict and wrong:
                raise self._unusable(wrong)
            self._judge(config, problems, offers, refusals)
            assert config is not None, "a configuration that cannot be used was refused"
            assert prepared is not None, "so were listeners that cannot be opened"
            # One that was about to leave may have gone while something else was waited for, and is new then.
            while added := parts.pools.missing(wanted):
                unread = {name: table for name, table in _supervised(added).items() if name not in new}
                if unread:
                    new |= await read_offers(unread, parts.surroundings)
                    problems = (*problems, *(problem for name in unread for problem in new[name].problems))
                    self._judge(config, problems, offers, refusals)
                await self._prove(added, _releases(new), removing=any(name not in wanted for name in parts.pools))
                self._judge(config, problems, offers, refusals)
            # From here on, nothing is awaited: what was judged is what is acted upon.
            runs = [
                self._make_run(pool, offer, marked.pop(name), trigger)
                for pool, offer in self._in_order(offers)
                if (name := pool.name) not in refusals
            ]
            dropped, resized = self._drop_queued(config), self._resize(config)
            changes = (*apply_configuration(parts, config, prepared, _releases(new)), *dropped, *resized)
            prepared = None
        finally:
            parts.pools.end_trial(parts.nursery)
            if prepared is not None:
                prepared.discard()
        self._start(runs)
        return ReloadAnswer(rollouts=tuple(run.rollout for run in runs), refusals=dict(refusals), changes=changes)

    async def _prove(self, added: Mapping[str, PoolTable], releases: Mapping[str, Release], *, removing: bool) -> None:
        """Have the pools that are new come up before anything is taken over, since what serves may end with it.

        Raises:
            PoolNotStarted: one of them did not; it was logged.
        """
        parts = self._parts
        try:
            await parts.pools.prove(added, releases, parts.surroundings, parts.nursery, static=removing)
        except PoolNotStarted as error:
            parts.log.error("config.not_applied", code=error.code, detail=error.detail, output=error.state["output"])
            parts.events.publish("config.not_applied", code=error.code, detail=error.detail)
            raise

    def _judge(
        self,
        config: Configuration | None,
        problems: tuple[Problem, ...],
        offers: Mapping[str, Offer],
        refusals: dict[str, Refused],
    ) -> None:
        """Check a reload, with all that was read for it, against the refusals.

        Raises:
            Refused: it changes nothing.
        """
        parts = self._parts
        for name, offer in offers.items():
            pool = parts.pools.find(name)
            if isinstance(pool, SupervisedPool) and name not in refusals:
                refusal = self._marks.check(pool, replace(offer, problems=(*problems, *offer.problems)))
                if refusal is not None:
                    refusals[name] = self._marks.tell(name, refusal)
        if offers and all(name in refusals for name in offers):
            raise _refused_all(refusals)
        if config is None or problems:
            detail = "; ".join(str(problem) for problem in problems)
            state: dict[str, object] = {"problems": [problem.to_json() for problem in problems]}
            raise self._marks.tell("", Refused(RefusalCode.CONFIG_INVALID, detail, state))
        for pool in self._changed(config):
            if pool.name in refusals:
                raise refusals[pool.name]
            if pool.name not in offers and (pool.rollout_id is not None or not self._only_resized(pool, config)):
                # It was to be given another size, and something came in between.
                code, detail = RefusalCode.NOT_READY, f"the slots of pool {pool.name} that stay serve no more"
                if pool.rollout_id is not None:
                    code = RefusalCode.ROLLOUT_IN_PROGRESS
                    detail = rollout_in_progress(pool.name, pool.rollout_id)
                raise self._marks.tell(
                    pool.name, Refused(code, detail, {"pool": pool.name, "rollout": pool.rollout_id})
                )
        for name, pool in parts.pools.items():
            if name not in config.pools and isinstance(pool, SupervisedPool) and pool.run is not None:
                detail = f"pool {name} is to be removed, and {rollout_in_progress(name, pool.run.rollout.id)}"
                raise self._marks.tell(name, Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, {"pool": name}))
        self._marks.refuse_for_all()

    def _in_order(self, offers: Mapping[str, Offer]) -> list[tuple[SupervisedPool, Offer]]:
        """Give the pools that are rolled one after the other, first those in which nothing serves."""
        pools = [(self._parts.pools.find(name), offer) for name, offer in offers.items()]
        found = [(pool, offer) for pool, offer in pools if isinstance(pool, SupervisedPool)]
        return sorted(found, key=lambda one: bool(one[0].core.ready_slots()))

    def _drop_queued(self, config: Configuration) -> tuple[str, ...]:
        """End the rollouts that have not begun, of pools that the configuration has no more; what it does is told."""
        gone = [run for run in self._parts.book.waiting() if run.rollout.pool not in config.pools]
        for run in gone:
            run.drop("pool-removed")
        return tuple(f"rollout {run.rollout.id} of pool {run.rollout.pool} dropped" for run in gone)

    def _make_run(self, pool: SupervisedPool, offer: Offer, rollout_id: RolloutId, trigger: str) -> RolloutRun:
        """Plan the rollout of a pool that passed."""
        assert offer.release is not None, "a release that cannot be read was refused"
        table = offer.table
        kept = range(min(pool.core.size, table.slots(self._parts.processors)))
        since = {member.backend.slot: member.started for member in pool.members}
        queue = [
            QueuedSlot(slot=number, generation=slot.generation, since=since.get(number, 0.0))
            for number, slot in pool.slots.items()
            if number in kept
        ]
        rollout = Rollout(
            id=rollout_id,
            pool=pool.name,
            trigger=trigger,
            # A store for one process at a time admits no second one beside a backend that is merely unwell.
            strategy=table.rollout.strategy if table.storage.shared else Strategy.STOP_FIRST,
            on_failure=table.rollout.on_failure,
            generation=pool.releases.add(offer.release),
            queue=plan_queue(queue, table.rollout.order, random.shuffle),
            size=pool.core.size,
            started=datetime.now(UTC),
            now=trio.current_time(),
        )
        return RolloutRun(pool, rollout)


def _supervised(tables: Mapping[str, PoolTable]) -> dict[str, SupervisedPoolTable]:
    return {name: table for name, table in tables.items() if isinstance(table, SupervisedPoolTable)}


def _releases(offers: Mapping[str, Offer]) -> dict[str, Release]:
    return {name: offer.release for name, offer in offers.items() if offer.release is not None}


def _refused_all(refusals: Mapping[str, Refused]) -> Refused:
    """Give one refusal for a reload of which nothing is left: that of the first pool, which tells of the others."""
    first, *others = refusals.values()
    if not others:
        return first
    detail = "; ".join(refused.detail for refused in refusals.values())
    told = {name: refused.to_json() for name, refused in refusals.items()}
    return Refused(first.code, detail, {**first.state, "refusals": told})
