"""Real-name check through Tencent Cloud faceid."""

from integrations.identity.verifier import IdentityConfig, TencentIdentityVerifier

__all__ = ["IdentityConfig", "TencentIdentityVerifier"]
