"""The engine: moves deliveries to WhatsApp, once each and in order. See docs/architecture.md."""
