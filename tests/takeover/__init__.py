"""Tests of taking over what certbot, Caddy and Pingoo left."""
