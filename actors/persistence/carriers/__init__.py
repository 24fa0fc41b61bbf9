"""Who takes outbox events onward. One that is down holds up no other (`actors.persistence.relay`)."""
