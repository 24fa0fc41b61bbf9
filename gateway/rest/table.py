"""All routes that there are: a line for each resource."""

from __future__ import annotations

from collections import Counter

from gateway import web
from gateway.http.policy import RouteTable
from gateway.rest import (
    accounts,
    apidocs,
    dispatch,
    drivers,
    internal,
    merchants,
    notes,
    offers,
    ops,
    orders,
    products,
    routing,
    stops,
    stores,
    vehicles,
)
from gateway.rest.business import dashboard, documents, onboarding, staff
from gateway.rest.desk import audit, overview, tickets
from gateway.rest.kit.routes import Declared, Routes
from gateway.rest.money import payouts, refunds
from gateway.rest.people import customers, driver_reviews

# A request is held against one route after the other: those that come most often are first.
ROUTERS: tuple[Routes, ...] = (
    orders.routes,
    drivers.routes,
    offers.routes,
    dispatch.routes,
    stops.routes,
    merchants.routes,
    onboarding.routes,
    documents.routes,
    staff.routes,
    dashboard.routes,
    stores.routes,
    products.routes,
    vehicles.routes,
    customers.routes,
    refunds.routes,
    payouts.routes,
    driver_reviews.routes,
    audit.routes,
    tickets.routes,
    overview.routes,
    notes.routes,
    accounts.routes,
    routing.routes,
    ops.routes,
    internal.routes,
    web.routes,
    apidocs.routes,
)
DECLARED: tuple[Declared, ...] = tuple(declared for routes in ROUTERS for declared in routes.declared)
_names = Counter(declared.name for declared in DECLARED)
if twice := [name for name, count in _names.items() if count > 1]:
    raise TypeError(f"two routes of one name: {', '.join(twice)}")

TABLE = RouteTable({(declared.method, declared.path): declared.policy for declared in DECLARED})
