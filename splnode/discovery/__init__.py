"""Where services are: resolvers that say it, announcers that tell others."""
